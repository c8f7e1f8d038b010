// comm/transport.h: bytes between ranks: the one thing that a backend must do.
//
// A transport connects all ranks of a program. exchange() carries a set of messages to and from
// other ranks and watches over them: a rank that fails, dies or does not answer within the limit
// ends the wait with a RankFailure that names it. post() sends without waiting. Backends: processes
// under a launcher (mpi_transport.h), threads of one process (thread_transport.h);
// faulty_transport.h delays, drops and kills. Not here: what the messages mean (group.h), who may
// start ranks (launcher.h).
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace dure {

struct Outgoing {
  int to = 0;
  std::span<const std::byte> bytes;
};

struct Incoming {
  int from = 0;
  std::span<std::byte> bytes;  // As long as what is sent.
};

// What is waited for, for messages.
struct WaitFacts {
  std::string_view what;  // "all-gather of weights"
  double limit_s = 0;     // Without an answer of one rank; 0: for ever.
};

// What went wrong on a rank, as the others hear of it.
struct FailureNotice {
  int rank = 0;
  ErrorCode code = ErrorCode::kIo;
  std::string text;
};

// Another rank failed, or did not answer. The message names rank, host and cause.
class RankFailure : public Error {
 public:
  RankFailure(ErrorCode code, int rank, bool heard, std::string message)
      : Error(code, std::move(message)), rank_(rank), heard_(heard) {}
  int rank() const { return rank_; }
  // It said so itself, and prints it; otherwise this rank found it out.
  bool heard() const { return heard_; }

 private:
  int rank_;
  bool heard_;
};

class Transport {
 public:
  virtual ~Transport() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual const std::string& host(int rank) const = 0;

  // Sends and receives all of them at once; returns when all are done. Two messages from one rank
  // to another on one channel arrive in the order in which they were sent. `to` and `from` are
  // other ranks. Throws RankFailure.
  virtual void exchange(int channel, std::span<const Outgoing> out, std::span<const Incoming> in,
                        const WaitFacts& facts) = 0;

  // Hands a message over and returns; it travels beside what this rank does next and is received as
  // one of exchange(), in the order of sending. Never waits for the receiver: where it does not
  // take the message, who waits for that one finds it out.
  virtual void post(int channel, int to, std::vector<std::byte> bytes) = 0;

  // Tells every other rank that this one failed: their waits end with it. Never throws, and
  // returns within a second or two.
  virtual void announce(const FailureNotice& notice) noexcept = 0;
  // Whether a rank below this one announced a failure, waited for so long.
  virtual bool lower_rank_failed(double wait_s) noexcept = 0;
};

// "rank 3 (node7)".
std::string rank_name(const Transport& transport, int rank);

[[noreturn]] void throw_heard(const Transport& transport, const FailureNotice& notice);
[[noreturn]] void throw_silent(const Transport& transport, int rank, const WaitFacts& facts);

}  // namespace dure
