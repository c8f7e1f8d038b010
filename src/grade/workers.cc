// A worker starts its process when it is asked, and kills it when a reply is none.
#include "grade/workers.h"

#include <algorithm>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "grade/grader.h"

namespace dure {
namespace {

using Clock = std::chrono::steady_clock;

Clock::duration seconds(double s) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(s));
}

ReadLine failed(VerifierFailure failure, std::string what) {
  return {.failure = failure, .what = std::move(what)};
}

std::string command_text(const std::vector<std::string>& command) {
  std::string out;
  for (const std::string& word : command) out += (out.empty() ? "" : " ") + word;
  return out;
}

}  // namespace

class Workers::OfProgram : public Worker {
 public:
  explicit OfProgram(Workers& all) : all_(all) {}

  void begin() {
    try {
      process_ = std::make_unique<VerifierProcess>(all_.options_.command, all_.log_);
    } catch (const Error& error) {
      // A grader's own name says it already.
      const char* field = all_.where_.ends_with(" command") ? "" : "command: ";
      fail(error.code(), "{}: {}{}", all_.where_, field, error.what());
    }
    asked_ = 0;
    ++starts_;
  }
  void close_input() {
    if (process_ != nullptr) process_->close_input();
  }
  // Where it ends before `until` it was none. What waits for input has begun.
  void require_begun(Clock::time_point until) {
    constexpr std::chrono::milliseconds kLook{5}, kUntold{300};
    const Clock::time_point begin = Clock::now();
    while (!process_->ends_within(kLook)) {
      const VerifierProcess::Waits waits = process_->waits_for_input();
      if (waits == VerifierProcess::Waits::kYes || Clock::now() >= until) return;
      if (waits == VerifierProcess::Waits::kUnknown && Clock::now() - begin > kUntold) return;
    }
    fail(ErrorCode::kInvalidArgument, "{}: before it was asked anything '{}' {}", all_.where_,
         command_text(all_.options_.command), process_->how_it_ended());
  }
  // Its input is closed; what is there at `until` is killed.
  void end_by(Clock::time_point until) {
    if (process_ == nullptr) return;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now());
    if (!process_->ends_within(std::max(left, std::chrono::milliseconds(0)))) process_->kill();
  }

  ReadLine ask(const WriteRequest& request, const ReadReply& read) override {
    return all_.ask(*this, request, read);
  }
  ReadLine exchange(const WriteRequest& request, const ReadReply& read) override {
    try {
      if (process_ == nullptr) begin();
    } catch (const Error& error) {
      return failed(VerifierFailure::kStart, error.what());
    }
    const int64_t number = ++asked_;
    const double limit = all_.options_.timeout_s + (number == 1 ? all_.options_.start_s : 0);
    ReadLine reply;
    const auto outcome = process_->exchange(
        request(std::to_string(number)), Clock::now() + seconds(limit), [&](std::string_view line) {
          reply = read(line, number);
          return !reply.stale;
        });
    if (outcome.failure != VerifierFailure::kNone) reply = failed(outcome.failure, outcome.what);
    if (reply.failure != VerifierFailure::kNone) process_->kill();
    if (reply.failure != VerifierFailure::kNone || !outcome.what.empty()) process_.reset();
    return reply;
  }
  bool seasoned() const override { return process_ != nullptr && process_->answered() > 0; }
  int64_t starts() const override { return starts_ + (process_ == nullptr ? 1 : 0); }

 private:
  Workers& all_;
  std::unique_ptr<VerifierProcess> process_;
  int64_t asked_ = 0;  // of this process
  int64_t starts_ = 0;
};

class Workers::OfServer : public Worker {
 public:
  explicit OfServer(Workers& all) : all_(all) {}

  ReadLine ask(const WriteRequest& request, const ReadReply& read) override {
    return all_.ask(*this, request, read);
  }
  ReadLine exchange(const WriteRequest& request, const ReadReply& read) override {
    Clock::time_point until = Clock::now() + seconds(all_.options_.timeout_s);
    bool hurry = false;
    const auto keep_on = [&] {
      if (!hurry && interrupted()) {
        hurry = true;
        say_interrupted();
        until = std::min(until, Clock::now() + kInterruptedWait);
      }
      return Clock::now() < until;
    };
    try {
      const WebAnswer answer = all_.client_->ask({.method = "POST",
                                                  .headers = {{"Content-Type", "application/json"}},
                                                  .body = request("1")},
                                                 nullptr, keep_on);
      if (answer.stopped)
        return failed(hurry ? VerifierFailure::kInterrupted : VerifierFailure::kTimeout,
                      "no reply in time");
      if (answer.status / 100 != 2)
        return failed(VerifierFailure::kServer, fmt::format("status {}", answer.status));
      return read(answer.body, 1);
    } catch (const Error& error) {
      const bool late = Clock::now() >= until;
      return failed(late ? VerifierFailure::kTimeout : VerifierFailure::kServer, error.what());
    }
  }

 private:
  Workers& all_;
};

Workers::Workers(const WorkerOptions& options, const std::string& log, const std::string& where)
    : options_(options), where_(where), log_(log, kVerifierLogBytesMax) {
  if (options.command.empty() == options.url.empty())
    fail(ErrorCode::kInvalidArgument,
         "{}: give command: [PROGRAM, ARGUMENT, ...] or url, one of them", where);
  if (!options.url.empty()) {
    client_ = std::make_unique<HttpClient>(
        parse_web_address(options.url),
        HttpClientOptions{.connect_seconds = std::min(10.0, options.timeout_s),
                          .silent_seconds = options.timeout_s,
                          .body_bytes_max = kVerifierLineBytesMax});
  }
  for (int64_t i = 0; i < options.workers; ++i) {
    if (client_ != nullptr) {
      workers_.push_back(std::make_unique<OfServer>(*this));
      continue;
    }
    auto program = std::make_unique<OfProgram>(*this);
    programs_.push_back(program.get());
    workers_.push_back(std::move(program));
  }
}

Workers::~Workers() {
  for (OfProgram* program : programs_) program->close_input();
  const Clock::time_point until = Clock::now() + kFarewell;
  for (OfProgram* program : programs_) program->end_by(until);
}

void Workers::start() {
  const std::lock_guard lock(mutex_);
  if (started_) return;
  started_ = true;
  if (client_ == nullptr) return start_programs();
  try {
    client_->reach();
  } catch (const Error& error) {
    fail(ErrorCode::kNotFound, "{}: url: {}: start the server first, or correct the address",
         where_, error.what());
  }
}

void Workers::start_programs() {
  for (OfProgram* program : programs_) program->begin();
  const Clock::time_point until = Clock::now() + kStartLook;
  for (OfProgram* program : programs_) program->require_begun(until);
}

ReadLine Workers::ask(Worker& worker, const WriteRequest& request, const ReadReply& read) {
  require_going_on();
  const ReadLine reply = worker.exchange(request, [&](std::string_view line, int64_t asked) {
    replied_ = true;
    return read(line, asked);
  });
  note(reply);
  return reply;
}

void Workers::require_going_on() {
  if (interrupted())
    fail(ErrorCode::kInterrupted, "{}: interrupted: nothing more is asked", where_);
  if (replied_) return;
  const std::lock_guard lock(mutex_);
  if (!gone_.empty()) throw GraderGone(gone_);
}

// What is told of a failure; throws where there is no more to be asked.
void Workers::note(const ReadLine& reply) {
  if (reply.failure == VerifierFailure::kInterrupted)
    fail(ErrorCode::kInterrupted, "{}: interrupted before it replied", where_);
  if (replied_) return;
  const std::lock_guard lock(mutex_);
  const bool absent = reply.failure == VerifierFailure::kDied ||
                      reply.failure == VerifierFailure::kStart ||
                      reply.failure == VerifierFailure::kServer;
  unreplied_ = absent ? unreplied_ + 1 : 0;
  if (unreplied_ < std::clamp<int64_t>(count(), 3, 8)) return;
  gone_ = client_ == nullptr
              ? fmt::format(
                    "{}: '{}': each of its first {} processes ended before it ever "
                    "replied; the last {}: mend it, and run the same command again",
                    where_, command_text(options_.command), unreplied_, reply.what)
              : fmt::format(
                    "{}: {}: none of the first {} requests was answered; the last: {}: "
                    "start the server, or correct the address, and run the same command "
                    "again",
                    where_, options_.url, unreplied_, reply.what);
  throw GraderGone(gone_);
}

FailureCount::~FailureCount() {
  if (counts_.empty()) return;
  int64_t total = 0;
  for (const auto& [name, count] : counts_) total += count;
  log_warn("{}: {}: {} ({})", where_, words_.what, total, failure_kinds(counts_));
}

void FailureCount::add(const std::string& item, VerifierFailure failure, const std::string& what) {
  const std::lock_guard lock(mutex_);
  if (counts_[verifier_failure_name(failure)]++ == 0)
    log_warn("{}: item {}: {} ({}): {}", where_, item, words_.one, verifier_failure_name(failure),
             what);
}

}  // namespace dure
