// comm/transport.h: bytes between ranks: the one thing that a backend must do.
//
// A transport connects all ranks of a program. exchange() carries a set of messages to and from
// other ranks and watches over them: a rank that fails, dies or does not answer within the limit
// ends the wait with a RankFailure that names it; start() is its first half alone, so that a rank
// computes while messages travel, and post() sends without waiting. Backends: processes under a
// launcher (mpi_transport.h), threads of one process (thread_transport.h); faulty_transport.h
// delays, drops and kills. Not here: what the messages mean (group.h), who may start ranks
// (launcher.h).
#pragma once

#include <cstddef>
#include <memory>
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

// Messages under way. What they are read from and written to stays until wait() has returned.
class Underway {
 public:
  virtual ~Underway() = default;
  // Moves on what can move, and returns: between two pieces of work.
  virtual void advance() {}
  // Until all are done. Throws RankFailure.
  virtual void wait(const WaitFacts& facts) = 0;
  // One look of that wait: whether all are done. The limit counts from the start.
  virtual bool look(const WaitFacts& facts) = 0;
};

class Transport {
 public:
  virtual ~Transport() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual const std::string& host(int rank) const = 0;
  // Whether threads may use it side by side, each on channels of its own.
  virtual bool any_thread() const { return true; }

  // Sends and receives all of them at once. Two messages from one rank to another on one channel
  // arrive in the order in which they were sent. `to` and `from` are other ranks. Several may be
  // under way.
  virtual std::unique_ptr<Underway> start(int channel, std::span<const Outgoing> out,
                                          std::span<const Incoming> in) = 0;
  // The same, and returns when all are done. Throws RankFailure.
  void exchange(int channel, std::span<const Outgoing> out, std::span<const Incoming> in,
                const WaitFacts& facts) {
    start(channel, out, in)->wait(facts);
  }

  // This rank has found out by itself that another is gone: waits end as for one that died. From
  // any thread.
  virtual void set_gone(int rank) noexcept = 0;
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
[[noreturn]] void throw_gone(const Transport& transport, int rank, const WaitFacts& facts);
[[noreturn]] void throw_silent(const Transport& transport, int rank, const WaitFacts& facts);

}  // namespace dure
