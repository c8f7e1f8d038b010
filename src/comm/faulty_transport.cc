// Counts exchanges and does to the chosen one what the fault says.
#include "comm/faulty_transport.h"

#include <chrono>
#include <thread>

namespace dure {

// Does what the fault says of the next message; whether that one is dropped: it was never sent, the
// others wait for it.
bool FaultyTransport::strikes() {
  const int64_t number = count_++;
  if (fault_.kind == Fault::Kind::kDelay && number >= fault_.at)
    std::this_thread::sleep_for(std::chrono::duration<double>(fault_.delay_s));
  if (number == fault_.at && fault_.kind == Fault::Kind::kKill) fault_.kill();
  if (number == fault_.at && fault_.kind == Fault::Kind::kFail)
    throw Error(ErrorCode::kIo, fault_.text);
  return number == fault_.at && fault_.kind == Fault::Kind::kDrop;
}

std::unique_ptr<Underway> FaultyTransport::start(int channel, std::span<const Outgoing> out,
                                                 std::span<const Incoming> in) {
  return below_.start(channel, strikes() ? std::span<const Outgoing>() : out, in);
}

void FaultyTransport::post(int channel, int to, std::vector<std::byte> bytes) {
  if (!strikes()) below_.post(channel, to, std::move(bytes));
}

}  // namespace dure
