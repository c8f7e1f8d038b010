// Counts exchanges and does to the chosen one what the fault says.
#include "comm/faulty_transport.h"

#include <chrono>
#include <thread>

namespace dure {

std::unique_ptr<Underway> FaultyTransport::start(int channel, std::span<const Outgoing> out,
                                                 std::span<const Incoming> in) {
  const int64_t number = count_++;
  if (fault_.kind == Fault::Kind::kDelay && number >= fault_.at)
    std::this_thread::sleep_for(std::chrono::duration<double>(fault_.delay_s));
  if (number == fault_.at && fault_.kind == Fault::Kind::kKill) fault_.kill();
  if (number == fault_.at && fault_.kind == Fault::Kind::kFail)
    throw Error(ErrorCode::kIo, fault_.text);
  // What is dropped was never sent: the others wait for it.
  const bool drop = number == fault_.at && fault_.kind == Fault::Kind::kDrop;
  return below_.start(channel, drop ? std::span<const Outgoing>() : out, in);
}

}  // namespace dure
