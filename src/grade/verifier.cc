// A pool of workers: who grades takes a free one.
#include "grade/verifier.h"

#include <condition_variable>
#include <mutex>
#include <sstream>

#include "base/error.h"
#include "grade/workers.h"

namespace dure {
namespace {

// Who grades takes a free worker, asks, and puts it back.
class Asker {
 public:
  Asker(const WorkerOptions& options, const std::string& log, const std::string& where)
      : workers_(options, log, where) {
    for (int64_t i = 0; i < workers_.count(); ++i) free_.push_back(i);
  }
  void start() { workers_.start(); }

  VerifierReply ask(const Item& item, const Answer& answer) {
    const Place place(*this);
    Worker& worker = workers_.at(place.number);
    return ask_again_if_died(worker, [&] {
      return ask_for(
          worker, [&](const std::string& id) { return verifier_request(id, item, answer); },
          read_verifier_reply);
    });
  }

 private:
  struct Place {
    explicit Place(Asker& of) : asker(of), number(of.take()) {}
    ~Place() { asker.put_back(number); }
    Asker& asker;
    int64_t number;
  };
  int64_t take() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !free_.empty(); });
    const int64_t out = free_.back();
    free_.pop_back();
    return out;
  }
  void put_back(int64_t place) {
    const std::lock_guard lock(mutex_);
    free_.push_back(place);
    changed_.notify_one();
  }

  Workers workers_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<int64_t> free_;
};

class VerifierGrader : public Grader {
 public:
  VerifierGrader(const VerifierOptions& options, const std::string& log, const std::string& where)
      : options_(options),
        asker_({.command = options.command,
                .url = options.url,
                .workers = options.workers,
                .timeout_s = options.timeout_s,
                .start_s = options.start_s},
               log, where),
        failures_(where, {.what = "answers that could not be graded", .one = "not graded"}) {}

  Grade grade(const Item& item, const Answer& answer) const override {
    VerifierReply reply = asker_.ask(item, answer);
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
  void check(const Item&) const override { asker_.start(); }
  int64_t concurrency() const override { return options_.workers; }

 private:
  VerifierOptions options_;
  mutable Asker asker_;
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

void check_command_form(const Json& fields, const std::string& where) {
  const Json* command = fields.find("command");
  if (command == nullptr) return;
  if (command->is_string()) {
    std::string list;
    std::istringstream words(command->as_string());
    for (std::string word; words >> word;) list += (list.empty() ? "" : ", ") + word;
    fail(ErrorCode::kInvalidArgument,
         "{}: command should be a list of the program and its arguments, not a string: write it as "
         "[{}]",
         where, list);
  }
  const Json::Array& words = command->as_array(where + ": command");
  for (size_t i = 0; i < words.size(); ++i) {
    const bool plain = words[i].is_number() || words[i].is_bool();
    if (words[i].is_string()) continue;
    fail(ErrorCode::kInvalidArgument, "{}: command[{}] should be a string, not {}{}", where, i,
         words[i].kind_name(), plain ? ": write it as \"" + words[i].dump() + "\"" : "");
  }
}

std::unique_ptr<Grader> make_verifier(const VerifierOptions& options, const std::string& log,
                                      const std::string& where) {
  return std::make_unique<VerifierGrader>(options, log, where);
}

void add_verifier_graders(GraderTable& table) {
  table["command"] = make_of_table;
  table["http"] = make_of_table;
}

}  // namespace dure
