//! Kogia beside other engines that do the same work, in one run. The benches are in `benches/`.
