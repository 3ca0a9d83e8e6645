// Says which version the library has, and that a call goes through.

#include <cstdio>

#include "kogia_queue.h"

int main()
{
    kogia_queue_status status = kogia_queue_sync(nullptr, nullptr);
    if (status != KOGIA_QUEUE_STATUS_INVALID_ARGUMENT) {
        return 1;
    }
    std::printf("%u\n", static_cast<unsigned>(kogia_queue_abi_version()));
}
