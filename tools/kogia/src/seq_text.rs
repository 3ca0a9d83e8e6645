//! Reading a seq in the form in which the library prints it: `opening.counter`.

use kogia::Seq;

const COUNTER_BITS: u32 = 40;
const OPENING_BITS: u32 = 24;

/// Reads `2.17` as the 17th seq of the second opening.
pub fn parse(text: &str) -> Result<Seq, &'static str> {
    const FORM: &str = "a seq as 'kogia head' shows it, for example 2.17";
    let (opening, counter) = text.split_once('.').ok_or(FORM)?;
    let number = |text: &str, bits: u32| {
        text.parse::<u64>().ok().filter(|number| number >> bits == 0).ok_or(FORM)
    };
    Ok(Seq(number(opening, OPENING_BITS)? << COUNTER_BITS | number(counter, COUNTER_BITS)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_library_prints_and_nothing_else() {
        for seq in [Seq(0), Seq(1 << COUNTER_BITS), Seq(u64::MAX)] {
            assert_eq!(parse(&seq.to_string()), Ok(seq));
        }
        for wrong in ["", "1", "1.", ".1", "1.2.3", "16777216.0", "0.1099511627776"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
