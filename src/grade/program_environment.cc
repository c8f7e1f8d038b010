// An episode keeps what it was told; a worker whose process is another than before is told all of
// it again first.
#include "grade/program_environment.h"

#include <algorithm>
#include <atomic>
#include <chrono>

#include "base/error.h"
#include "grade/environment_protocol.h"
#include "grade/workers.h"

namespace dure {
namespace {

using Clock = std::chrono::steady_clock;

// A worker with those who wait for it.
struct Place {
  Worker* worker = nullptr;
  std::mutex mutex;               // held while it is asked
  std::atomic<int64_t> held = 0;  // episodes
};

// What all episodes of an environment share.
struct Shared {
  Shared(const EnvironmentOptions& o, const std::string& log, const std::string& where)
      : options(o),
        workers({.command = o.command,
                 .url = o.url,
                 .workers = o.workers,
                 .timeout_s = o.timeout_s,
                 .start_s = o.start_s},
                log, where),
        places(static_cast<size_t>(workers.count())),
        failures(where, {.what = "episodes that the environment failed", .one = "failed"}) {
    for (size_t i = 0; i < places.size(); ++i)
      places[i].worker = &workers.at(static_cast<int64_t>(i));
    // Of a server that other runs ask too; processes know one run alone.
    if (!o.url.empty()) episodes = Clock::now().time_since_epoch().count();
  }

  Place& take() {
    const std::lock_guard lock(mutex);
    Place& out =
        *std::ranges::min_element(places, {}, [](const Place& place) { return place.held.load(); });
    ++out.held;
    return out;
  }

  EnvironmentOptions options;
  Workers workers;
  std::mutex mutex;
  std::vector<Place> places;
  std::atomic<int64_t> episodes = 0;
  FailureCount failures;
};

class ProgramEpisode : public Episode {
 public:
  ProgramEpisode(Shared& shared, const Item& item, const EpisodeSeed& seed)
      : shared_(shared),
        item_(item),
        seed_(seed),
        place_(shared.take()),
        name_(std::to_string(++shared.episodes)) {}
  ~ProgramEpisode() override { --place_.held; }

  EpisodeTurn start() override {
    return turn([&] { return ask_start(); });
  }

  EpisodeTurn reply(const Answer& answer) override {
    answers_.push_back(answer);
    return turn([&] { return ask_turn(answers_.size()); });
  }

  Grade finish(EpisodeEnd end) override {
    if (late_) end = EpisodeEnd::kSeconds;
    if (over_) end = EpisodeEnd::kDone;
    VerifierReply reply;
    if (failure_ == VerifierFailure::kNone) {
      exchange([&] {
        reply = ask_for(
            *place_.worker, [&](const std::string& id) { return finish_request(id, name_, end); },
            read_verifier_reply);
        return EnvironmentReply{.failure = reply.failure, .what = reply.what};
      });
    }
    if (failure_ != VerifierFailure::kNone) return failed();
    return {.score = reply.reward,
            .extracted = "",
            .reason = std::move(reply.text),
            .parts = std::move(reply.parts)};
  }

  const Json& tools() const override { return tools_; }
  void refuse(const std::string& why) override {
    note_failure(VerifierFailure::kReply, "the chat template: " + why);
  }
  bool late() const override { return late_ && !over_ && failure_ == VerifierFailure::kNone; }

 private:
  template <typename Ask>
  EpisodeTurn turn(const Ask& ask) {
    if (failure_ != VerifierFailure::kNone) return {.messages = {}, .over = true};
    EnvironmentReply reply = exchange(ask);
    if (failure_ != VerifierFailure::kNone) return {.messages = {}, .over = true};
    over_ = reply.over;
    said_.push_back(reply.messages);
    const double limit = shared_.options.max_seconds;
    late_ = limit > 0 && std::chrono::duration<double>(worked_).count() > limit;
    return {.messages = std::move(reply.messages), .over = reply.over || late_};
  }

  // Alone with the worker. One that ended while others were asked, or after its last reply, is no
  // fault of this episode: it is asked once more, of a new process.
  template <typename Ask>
  EnvironmentReply exchange(const Ask& ask) {
    const std::lock_guard lock(place_.mutex);
    const Clock::time_point begin = Clock::now();
    EnvironmentReply reply = ask_again_if_died(*place_.worker, [&] { return caught_up(ask); });
    worked_ += Clock::now() - begin;
    if (reply.failure != VerifierFailure::kNone) note_failure(reply.failure, reply.what);
    return reply;
  }
  void note_failure(VerifierFailure failure, const std::string& what) {
    failure_ = failure;
    what_ = what;
    shared_.failures.add(item_.id, failure_, what_);
  }

  template <typename Ask>
  EnvironmentReply caught_up(const Ask& ask) {
    const int64_t process = place_.worker->starts();
    if (told_to_ >= 0 && told_to_ != process) {
      if (EnvironmentReply again = tell_again(); again.failure != VerifierFailure::kNone)
        return again;
    }
    told_to_ = process;
    return ask();
  }

  // All that was said up to now, to a process that knows nothing of it.
  EnvironmentReply tell_again() {
    for (size_t turn = 0; turn < said_.size(); ++turn) {
      EnvironmentReply reply = turn == 0 ? ask_start() : ask_turn(turn);
      if (reply.failure != VerifierFailure::kNone) return reply;
      if (reply.messages != said_[turn])
        return {.failure = VerifierFailure::kDiffers,
                .what = "started again and told the same, it replied otherwise than before"};
    }
    return {};
  }

  EnvironmentReply ask_start() {
    EnvironmentReply out = ask_for(
        *place_.worker,
        [&](const std::string& id) { return start_request(id, name_, item_, seed_); },
        [&](std::string_view line, int64_t asked) { return read_start_reply(line, asked, item_); });
    tools_ = out.tools;
    return out;
  }
  EnvironmentReply ask_turn(size_t turn) {
    return ask_for(
        *place_.worker,
        [&](const std::string& id) {
          return reply_request(id, name_, static_cast<int64_t>(turn), answers_[turn - 1]);
        },
        read_turn_reply);
  }
  Grade failed() const {
    Grade out = Grade::unknown("", "the environment: " + what_);
    out.failure = verifier_failure_name(failure_);
    if (shared_.options.on_failure == VerifierFailureAction::kReward)
      out.score = shared_.options.failure_reward;
    return out;
  }

  Shared& shared_;
  const Item& item_;
  EpisodeSeed seed_;
  Place& place_;
  std::string name_;
  Json tools_;
  std::vector<Answer> answers_;
  std::vector<std::vector<Message>> said_;  // by the environment: at the start, then to each answer
  int64_t told_to_ = -1;  // of the worker's processes, the one that knows all that was said
  Clock::duration worked_{};
  bool over_ = false, late_ = false;
  VerifierFailure failure_ = VerifierFailure::kNone;
  std::string what_;
};

class ProgramEnvironment : public Environment {
 public:
  ProgramEnvironment(const EnvironmentOptions& options, const std::string& log,
                     const std::string& where)
      : shared_(options, log, where) {}

  std::unique_ptr<Episode> begin(const Item& item, const EpisodeSeed& seed) const override {
    return std::make_unique<ProgramEpisode>(shared_, item, seed);
  }
  void check(const Item&) const override { shared_.workers.start(); }
  EpisodeLimits limits() const override {
    return {.turns_max = shared_.options.max_turns,
            .tokens_max = shared_.options.max_tokens,
            .cut_ends = true};
  }
  int64_t concurrency() const override { return shared_.options.workers; }

 private:
  mutable Shared shared_;
};

}  // namespace

std::unique_ptr<Environment> make_environment(const EnvironmentOptions& options,
                                              const std::string& log, const std::string& where) {
  return std::make_unique<ProgramEnvironment>(options, log, where);
}

std::unique_ptr<Environment> make_environment(const Json& spec, const GraderWorld& world,
                                              const std::string& where) {
  Json fields = Json::object();
  for (const auto& [name, value] : spec.as_object(where))
    if (name != "name") fields[name] = value;
  EnvironmentOptions options;
  from_json(options, fields, where);
  const std::string log =
      world.folder.empty() ? "" : (Path(world.folder) / "environment.log").string();
  return make_environment(options, log, where);
}

}  // namespace dure
