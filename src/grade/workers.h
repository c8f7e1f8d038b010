// grade/workers.h: the workers behind a verifier or an environment of one's own: processes, or
// places at a server, each asked one thing at a time.
//
// Owns their starts and restarts, the time that a reply may take, and the count of what went wrong.
// Where none of the first processes (or requests) ever gets as far as a reply, nobody is there to
// ask, and all asking ends (GraderGone). After Ctrl-C nothing new is asked, and who is asked has
// kInterruptedWait left: both throw kInterrupted.
// Not here: one process (verifier_process.h), what is said (verifier_protocol.h,
// environment_protocol.h), who asks what (verifier.h, program_environment.h).
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "client/http_client.h"
#include "grade/verifier_process.h"
#include "grade/verifier_protocol.h"

namespace dure {

struct WorkerOptions {
  std::vector<std::string> command;
  std::string url;  // instead
  int64_t workers = 1;
  double timeout_s = 20, start_s = 10;
};

// What was made of a line; of a failure, `what` is for a person.
struct ReadLine {
  VerifierFailure failure = VerifierFailure::kNone;
  std::string what;
  bool stale = false;  // a second reply to an earlier request: to be ignored
};
using WriteRequest = std::function<std::string(const std::string& id)>;
// `asked`: the number of the request, whose id is that number as text.
using ReadReply = std::function<ReadLine(std::string_view line, int64_t asked)>;

class Worker {
 public:
  virtual ~Worker() = default;
  // One at a time. After a failure a process is killed; the next request starts another. Throws
  // kInterrupted, GraderGone.
  virtual ReadLine ask(const WriteRequest& request, const ReadReply& read) = 0;
  // The same without what all workers know of each other; for Workers.
  virtual ReadLine exchange(const WriteRequest& request, const ReadReply& read) = 0;
  // Of the process that is there, it has replied before: its end may be no fault of what is asked.
  virtual bool seasoned() const { return false; }
  // The number of the process that will be asked next, from 1; 0 where there are none. What an
  // earlier one was told, this one knows not.
  virtual int64_t starts() const { return 0; }
};

// The reply as `read` makes it of a line, with what became of the request.
template <typename Read>
auto ask_for(Worker& worker, const WriteRequest& write, const Read& read) {
  decltype(read(std::string_view(), int64_t{})) reply;
  const ReadLine end = worker.ask(write, [&](std::string_view line, int64_t asked) {
    reply = read(line, asked);
    return ReadLine{reply.failure, reply.what, reply.stale};
  });
  reply.failure = end.failure;
  reply.what = end.what;
  return reply;
}

// ask(), and once more where a process that had replied before ended: that may be no fault of what
// was asked.
template <typename Ask>
auto ask_again_if_died(const Worker& worker, const Ask& ask) {
  const bool seasoned = worker.seasoned();
  auto reply = ask();
  if (seasoned && reply.failure == VerifierFailure::kDied) reply = ask();
  return reply;
}

class Workers {
 public:
  // Throws kInvalidArgument naming `where`: neither command nor url, or both.
  Workers(const WorkerOptions& options, const std::string& log, const std::string& where);
  ~Workers();
  // Once. Waits until processes wait for input, or kStartLook. Throws kNotFound (there is no such
  // program, nobody at the address), kInvalidArgument (it ended before it was asked anything).
  void start();
  int64_t count() const { return std::ssize(workers_); }
  Worker& at(int64_t i) { return *workers_[static_cast<size_t>(i)]; }

 private:
  class OfProgram;
  class OfServer;
  ReadLine ask(Worker& worker, const WriteRequest& request, const ReadReply& read);
  void start_programs();
  void require_going_on();
  void note(const ReadLine& reply);

  WorkerOptions options_;
  std::string where_;
  VerifierLog log_;
  std::unique_ptr<HttpClient> client_;
  std::mutex mutex_;
  bool started_ = false;
  std::atomic<bool> replied_ = false;  // one of them, ever
  int64_t unreplied_ = 0;              // in a row, from the first on
  std::string gone_;                   // why nobody is asked any more
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<OfProgram*> programs_;
};

// What failed, told once by its kind while it happens and once at the end. Thread-safe.
class FailureCount {
 public:
  // `what`: "answers that could not be graded"; `one`: "not graded".
  struct Words {
    std::string what, one;
  };
  FailureCount(std::string where, Words words)
      : where_(std::move(where)), words_(std::move(words)) {}
  ~FailureCount();
  void add(const std::string& item, VerifierFailure failure, const std::string& what);

 private:
  std::string where_;
  Words words_;
  std::mutex mutex_;
  std::map<std::string, int64_t> counts_;
};

inline constexpr int64_t kVerifierLogBytesMax = 1 << 20;
inline constexpr std::chrono::milliseconds kStartLook{5000};

}  // namespace dure
