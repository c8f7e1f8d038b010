// A pool of workers: who grades takes a free one, asks, and puts it back or starts another.
#include "grade/verifier.h"

#include <condition_variable>
#include <map>
#include <mutex>

#include "base/error.h"
#include "base/log.h"
#include "client/http_client.h"
#include "grade/verifier_process.h"

namespace dure {
namespace {

using Clock = std::chrono::steady_clock;

Clock::duration seconds(double s) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(s));
}

VerifierReply failed(VerifierFailure failure, std::string what) {
  return {.failure = failure, .what = std::move(what)};
}

// What could not be graded, told once while it happens and once at the end.
class FailureCount {
 public:
  explicit FailureCount(std::string where) : where_(std::move(where)) {}
  ~FailureCount() {
    if (counts_.empty()) return;
    std::string kinds;
    int64_t total = 0;
    for (const auto& [name, count] : counts_) {
      kinds += (kinds.empty() ? "" : ", ") + fmt::format("{} {}", count, name);
      total += count;
    }
    log_warn("{}: answers that could not be graded: {} ({})", where_, total, kinds);
  }
  void add(const std::string& item, VerifierFailure failure, const std::string& what) {
    const std::lock_guard lock(mutex_);
    if (counts_[verifier_failure_name(failure)]++ == 0)
      log_warn("{}: item {}: not graded ({}): {}", where_, item, verifier_failure_name(failure),
               what);
  }

 private:
  std::string where_;
  std::mutex mutex_;
  std::map<std::string, int64_t> counts_;
};

// Asks an answer's worth, in one of the two ways.
class Asker {
 public:
  virtual ~Asker() = default;
  virtual VerifierReply ask(const Item& item, const Answer& answer) = 0;
  virtual void start() {}
};

class CommandAsker : public Asker {
 public:
  CommandAsker(const VerifierOptions& options, const std::string& log, const std::string& where)
      : options_(options), where_(where), log_(log, kVerifierLogBytesMax) {
    for (int64_t i = 0; i < options.workers; ++i) {
      workers_.push_back(std::make_unique<Worker>());
      free_.push_back(workers_.back().get());
    }
  }
  ~CommandAsker() override {
    for (auto& worker : workers_)
      if (worker->process != nullptr) worker->process->close_input();
  }

  // Once. One look at each: a script that is not there ends in less.
  void start() override {
    constexpr std::chrono::milliseconds kLook{300};
    const std::lock_guard lock(mutex_);
    if (started_) return;
    started_ = true;
    for (auto& worker : workers_) begin(*worker);
    const Clock::time_point until = Clock::now() + kLook;
    for (auto& worker : workers_) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now());
      if (!worker->process->ends_within(std::max(left, std::chrono::milliseconds(0)))) continue;
      fail(ErrorCode::kInvalidArgument, "{}: command {} {} before it was asked anything", where_,
           options_.command[0], worker->process->how_it_ended());
    }
  }

  VerifierReply ask(const Item& item, const Answer& answer) override {
    Worker* worker = take();
    const bool seasoned = worker->process != nullptr && worker->process->answered() > 0;
    VerifierReply reply = ask_one(*worker, item, answer);
    // It may have ended after its last reply, for no fault of this answer.
    if (seasoned && reply.failure == VerifierFailure::kDied) reply = ask_one(*worker, item, answer);
    put_back(worker);
    return reply;
  }

 private:
  struct Worker {
    std::unique_ptr<VerifierProcess> process;
    int64_t asked = 0;  // of this process
  };

  void begin(Worker& worker) {
    try {
      worker.process = std::make_unique<VerifierProcess>(options_.command, log_);
    } catch (const Error& error) {
      fail(error.code(), "{}: command: {}", where_, error.what());
    }
    worker.asked = 0;
  }

  Worker* take() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !free_.empty(); });
    Worker* out = free_.back();
    free_.pop_back();
    return out;
  }
  void put_back(Worker* worker) {
    const std::lock_guard lock(mutex_);
    free_.push_back(worker);
    changed_.notify_one();
  }

  VerifierReply ask_one(Worker& worker, const Item& item, const Answer& answer) {
    try {
      if (worker.process == nullptr) begin(worker);
    } catch (const Error& error) {
      return failed(VerifierFailure::kStart, error.what());
    }
    const int64_t number = ++worker.asked;
    const double limit = options_.timeout_s + (number == 1 ? options_.start_s : 0);
    VerifierReply reply;
    const auto outcome =
        worker.process->exchange(verifier_request(std::to_string(number), item, answer),
                                 Clock::now() + seconds(limit), [&](std::string_view line) {
                                   reply = read_verifier_reply(line, number);
                                   return !reply.stale;
                                 });
    if (outcome.failure != VerifierFailure::kNone) reply = failed(outcome.failure, outcome.what);
    if (reply.failure != VerifierFailure::kNone) worker.process->kill();
    if (reply.failure != VerifierFailure::kNone || !outcome.what.empty()) worker.process.reset();
    return reply;
  }

  VerifierOptions options_;
  std::string where_;
  VerifierLog log_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool started_ = false;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<Worker*> free_;
};

class HttpAsker : public Asker {
 public:
  HttpAsker(const VerifierOptions& options)
      : options_(options),
        client_(parse_web_address(options.url),
                {.connect_seconds = std::min(10.0, options.timeout_s),
                 .silent_seconds = options.timeout_s,
                 .body_bytes_max = kVerifierLineBytesMax}),
        free_(options.workers) {}

  VerifierReply ask(const Item& item, const Answer& answer) override {
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return free_ > 0; });
      --free_;
    }
    VerifierReply reply = post(verifier_request("1", item, answer));
    const std::lock_guard lock(mutex_);
    ++free_;
    changed_.notify_one();
    return reply;
  }

 private:
  VerifierReply post(std::string body) const {
    const Clock::time_point until = Clock::now() + seconds(options_.timeout_s);
    try {
      const WebAnswer answer = client_.ask({.method = "POST",
                                            .headers = {{"Content-Type", "application/json"}},
                                            .body = std::move(body)},
                                           nullptr, [&] { return Clock::now() < until; });
      if (answer.stopped) return failed(VerifierFailure::kTimeout, "no reply in time");
      if (answer.status / 100 != 2)
        return failed(VerifierFailure::kServer, fmt::format("status {}", answer.status));
      return read_verifier_reply(answer.body, 1);
    } catch (const Error& error) {
      const bool late = Clock::now() >= until;
      return failed(late ? VerifierFailure::kTimeout : VerifierFailure::kServer, error.what());
    }
  }

  VerifierOptions options_;
  HttpClient client_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int64_t free_;
};

class VerifierGrader : public Grader {
 public:
  VerifierGrader(const VerifierOptions& options, std::unique_ptr<Asker> asker,
                 const std::string& where)
      : options_(options), asker_(std::move(asker)), failures_(where) {}

  Grade grade(const Item& item, const Answer& answer) const override {
    VerifierReply reply = asker_->ask(item, answer);
    if (reply.failure == VerifierFailure::kNone) {
      return {.score = reply.reward,
              .extracted = answer.content,
              .reason = std::move(reply.text),
              .parts = std::move(reply.parts)};
    }
    failures_.add(item.id, reply.failure, reply.what);
    Grade out = Grade::unknown("", "the verifier: " + reply.what);
    out.failure = verifier_failure_name(reply.failure);
    if (options_.on_failure == VerifierFailureAction::kReward) out.score = options_.failure_reward;
    return out;
  }
  void check(const Item&) const override { asker_->start(); }
  int64_t concurrency() const override { return options_.workers; }

 private:
  VerifierOptions options_;
  std::unique_ptr<Asker> asker_;
  mutable FailureCount failures_;
};

std::unique_ptr<Grader> make_of_table(const Json& json, const GraderWorld& world,
                                      const std::string& where) {
  VerifierOptions options;
  from_json(options, json.is_null() ? Json::object() : json, where);
  const std::string log =
      world.folder.empty() ? "" : (Path(world.folder) / "verifier.log").string();
  return make_verifier(options, log, where);
}

}  // namespace

std::unique_ptr<Grader> make_verifier(const VerifierOptions& options, const std::string& log,
                                      const std::string& where) {
  if (options.command.empty() == options.url.empty())
    fail(ErrorCode::kInvalidArgument,
         "{}: give command: [PROGRAM, ARGUMENT, ...] or url, one of them", where);
  std::unique_ptr<Asker> asker;
  if (options.url.empty()) {
    asker = std::make_unique<CommandAsker>(options, log, where);
  } else {
    asker = std::make_unique<HttpAsker>(options);
  }
  return std::make_unique<VerifierGrader>(options, std::move(asker), where);
}

void add_verifier_graders(GraderTable& table) {
  table["command"] = make_of_table;
  table["http"] = make_of_table;
}

}  // namespace dure
