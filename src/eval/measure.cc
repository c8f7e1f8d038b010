// Threads that converse take the next question of this rank; what they end goes through a bounded
// queue to threads that grade and keep. The calling thread meets the other ranks.
#include "eval/measure.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "base/check.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/rng.h"
#include "comm/packer.h"
#include "eval/conversing.h"
#include "eval/spread.h"
#include "grade/program_files.h"
#include "grade/verifier_process.h"
#include "suite/task_items.h"

namespace dure {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// All questions of the tasks, in an order that every rank has.
std::vector<Job> all_jobs(const std::vector<PreparedTask>& tasks) {
  std::vector<Job> out;
  for (const PreparedTask& task : tasks) {
    for (const Item& item : task.items) {
      for (int64_t sample = 0; sample < task.entry.ask.samples; ++sample)
        out.push_back({&task, &item, sample});
    }
  }
  return out;
}

// Its grade is of one answer, which is kept: no environment has to say anything again.
bool answers_alone(const Job& job) { return job.task->entry.task.environment.is_null(); }

struct Waiting {
  int64_t position = 0;
  Ended ended;
};

// What an earlier run left to do.
struct Remaining {
  std::vector<int64_t> open;     // positions of questions to be asked
  std::deque<Waiting> ungraded;  // answers that are kept, but their grade failed
  int64_t played_again = 0;      // of `open`: their environment failed
};

Remaining remaining(const std::vector<Job>& jobs, const std::string& subject,
                    const AnswerStore& store) {
  struct Known {
    std::set<std::pair<std::string, int64_t>> answered;
    std::map<std::pair<std::string, int64_t>, AnswerRow> ungraded;
  };
  Remaining out;
  std::map<const PreparedTask*, Known> known;
  for (int64_t i = 0; i < std::ssize(jobs); ++i) {
    const Job& job = jobs[static_cast<size_t>(i)];
    const std::string& task = job.task->entry.task.name;
    const auto [of_task, is_new] = known.try_emplace(job.task);
    Known& there = of_task->second;
    if (is_new) {
      there.answered = store.answered(subject, task);
      for (AnswerRow& row : store.ungraded(subject, task)) {
        const std::pair key(row.item, row.sample);
        there.ungraded[key] = std::move(row);
      }
    }
    const auto row = there.ungraded.find({job.item->id, job.sample});
    if (row != there.ungraded.end() && answers_alone(job)) {
      out.ungraded.push_back({i, {.job = job, .row = std::move(row->second), .known = true}});
    } else if (row != there.ungraded.end() ||
               !there.answered.contains({job.item->id, job.sample})) {
      out.open.push_back(i);
      out.played_again += row != there.ungraded.end() ? 1 : 0;
    }
  }
  return out;
}

class Measuring {
 public:
  Measuring(const std::vector<PreparedTask>& tasks, const std::string& subject, Answerer& answerer,
            AnswerStore* store, const MeasureOptions& options, Group& group)
      : subject_(subject),
        answerer_(answerer),
        store_(store),
        options_(options),
        group_(group),
        jobs_(all_jobs(tasks)),
        remaining_(store != nullptr ? remaining(jobs_, subject, *store) : Remaining()),
        spread_(group, remaining_.open),
        waiting_(std::move(remaining_.ungraded)),
        grades_again_(std::ssize(waiting_)),
        undone_(grades_again_) {}

  void run() {
    tell_again();
    // Other ranks do not know what the first one still grades.
    if (spread_.open_count() == 0 && undone_ == 0 && group_.size() == 1) return;
    std::optional<Progress> progress;
    if (group_.is_first()) progress.emplace(subject_, std::ssize(jobs_), "answers");
    if (progress) progress->start_at(answered_before());
    std::vector<std::thread> threads;
    talkers_ = std::min<int64_t>(options_.concurrency, spread_.open_count());
    const int64_t talkers = talkers_;
    for (int64_t i = 0; i < talkers; ++i) threads.emplace_back([this] { talk(); });
    for (int64_t i = 0; i < options_.grading_threads; ++i)
      threads.emplace_back([this] { grade(); });
    try {
      watch(progress);
    } catch (...) {
      apart_ = true;
      give_up(std::current_exception());
    }
    for (std::thread& thread : threads) thread.join();
    if (progress) progress->finish(note());
    tell();
  }

 private:
  int64_t answered_before() const {
    return std::ssize(jobs_) - spread_.open_count() - grades_again_;
  }
  void tell_again() const {
    if (grades_again_ > 0)
      log_info("{}: {} answers that could not be graded before are graded again", subject_,
               grades_again_);
    if (remaining_.played_again > 0)
      log_info("{}: {} episodes that their environment failed before are played again", subject_,
               remaining_.played_again);
  }

  // Waits while other ranks may still leave some.
  std::optional<int64_t> next() {
    std::unique_lock lock(mutex_);
    changed_.notify_all();
    changed_.wait(lock, [&] { return ended_ || no_more_ || !mine_.empty(); });
    if (ended_ || mine_.empty()) return std::nullopt;
    const int64_t job = mine_.front();
    mine_.pop_front();
    ++talking_;
    return job;
  }

  void talk() {
    while (const std::optional<int64_t> position = next()) {
      const Job& job = jobs_[static_cast<size_t>(*position)];
      bool handed_on = false;
      try {
        hand_on({*position, converse(job, answerer_, options_.seed)});
        handed_on = true;
      } catch (const GraderGone&) {
        give_up(std::current_exception());
      } catch (const Error& error) {
        if (error.code() != ErrorCode::kInterrupted) count_failure(job, error);
      } catch (...) {
        give_up(std::current_exception());
      }
      const std::lock_guard lock(mutex_);
      --talking_;
      if (!handed_on) is_done();
    }
    const std::lock_guard lock(mutex_);
    --talkers_;
    changed_.notify_all();
  }

  void hand_on(Waiting waiting) {
    std::unique_lock lock(mutex_);
    failures_in_row_ = 0;
    const size_t waiting_max = static_cast<size_t>(4 * options_.concurrency);
    changed_.wait(lock, [&] { return waiting_.size() < waiting_max || ended_; });
    waiting_.push_back(std::move(waiting));
    changed_.notify_all();
  }

  // Under the lock: one of this rank's questions needs nothing more.
  void is_done() {
    --undone_;
    ++done_lately_;
    changed_.notify_all();
  }

  void count_failure(const Job& job, const Error& error) {
    std::unique_lock lock(mutex_);
    // Where nothing was answered yet, a refusal is of the way it was asked, not of one item.
    const bool hopeless =
        error.code() == ErrorCode::kUnsupported ||
        (error.code() == ErrorCode::kInvalidArgument && graded_ == 0 && waiting_.empty());
    if (++failures_in_row_ >= options_.failures_max || hopeless) {
      lock.unlock();
      return give_up(std::make_exception_ptr(
          Error(error.code(), fmt::format("task {}, item {}: {}", job.task->entry.task.name,
                                          job.item->id, error.what()))));
    }
    if (failures_++ == 0)
      log_warn("task {}, item {}: stays unanswered: {}", job.task->entry.task.name, job.item->id,
               error.what());
  }

  void give_up(std::exception_ptr why) {
    {
      const std::lock_guard lock(mutex_);
      if (!fault_) fault_ = std::move(why);
      end();
    }
    answerer_.stop();
  }
  // Under the lock: nothing more is taken up.
  void end() {
    ended_ = true;
    undone_ -= std::ssize(mine_);
    mine_.clear();
    changed_.notify_all();
  }

  std::optional<Waiting> next_ended() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !waiting_.empty() || talkers_ == 0; });
    if (waiting_.empty()) return std::nullopt;
    Waiting out = std::move(waiting_.front());
    waiting_.pop_front();
    changed_.notify_all();
    return out;
  }

  void grade() {
    while (std::optional<Waiting> waiting = next_ended()) {
      try {
        if (stopping()) {
          leave_ungraded(*waiting);
        } else if (give_grade(*waiting)) {
          keep(*waiting);
        }
      } catch (const GraderGone&) {
        note_gone();
        give_up(std::current_exception());
        leave_ungraded(*waiting);
      } catch (...) {
        give_up(std::current_exception());
      }
      const std::lock_guard lock(mutex_);
      is_done();
    }
  }
  void note_gone() {
    const std::lock_guard lock(mutex_);
    gone_ = true;
  }
  bool stopping() {
    const std::lock_guard lock(mutex_);
    return interrupted_ || gone_;
  }
  // An answer is kept; an episode is played again.
  void leave_ungraded(Waiting& waiting) {
    Ended& ended = waiting.ended;
    if (ended.known || !answers_alone(ended.job)) return;
    ended.row.grade = Grade::unknown("", "not graded yet: the run was stopped before");
    ended.row.grade.failure = verifier_failure_name(VerifierFailure::kInterrupted);
    put(waiting);
  }
  // Of an answer that was kept.
  void begin_again(Ended& ended) const {
    const Environment& environment = *ended.job.task->environment;
    ended.episode = environment.begin(*ended.job.item);
    ended.episode->start();
    ended.episode->reply(ended.row.answer);
  }
  // False where the world did not let it be graded: it stays unanswered.
  bool give_grade(Waiting& waiting) {
    Ended& ended = waiting.ended;
    const Clock::time_point begin = Clock::now();
    if (ended.row.end == SaidEnd::kTooLong && ended.row.turns == 1) {
      ended.row.grade =
          Grade::wrong("", "the question leaves no room for an answer in the context");
    } else {
      try {
        if (ended.episode == nullptr) begin_again(ended);
        ended.row.grade = verdict_of([&] { return ended.episode->finish(ended.end); });
        // What a failure earns while learning is no measurement.
        if (!ended.row.grade.failure.empty()) ended.row.grade.score.reset();
      } catch (const GraderGone&) {
        throw;
      } catch (const Error& error) {
        if (error.code() == ErrorCode::kInterrupted)
          leave_ungraded(waiting);
        else
          count_failure(ended.job, Error(error.code(), std::string("grading: ") + error.what()));
        return false;
      }
    }
    ended.row.grade_seconds = seconds_since(begin);
    return true;
  }
  // On disk at once on the first rank; with the next meeting elsewhere.
  void put(const Waiting& waiting) {
    const AnswerRow& row = waiting.ended.row;
    if (store_ != nullptr) return store_->put(subject_, row);
    const std::lock_guard lock(mutex_);
    to_first_.number(waiting.position);
    to_first_.text(pack_answer(row));
  }
  void keep(const Waiting& waiting) {
    put(waiting);
    const std::lock_guard lock(mutex_);
    count(waiting.ended.row);
  }
  // Under the lock.
  void count(const AnswerRow& row) {
    ++graded_;
    const std::string& failure = row.grade.failure;
    if (failure == "grader" && grader_failures_++ == 0)
      log_warn("task {}, item {}: {}", row.task, row.item, row.grade.reason);
    ungraded_ += failure.empty() ? 0 : 1;
    score_sum_ += row.grade.score.value_or(0);
    task_ = row.task;
    changed_.notify_all();
  }

  // Until no rank has anything left to do.
  void watch(std::optional<Progress>& progress) {
    const InterruptScope scope;
    for (bool over = false; !over;) {
      {
        std::unique_lock lock(mutex_);
        changed_.wait_for(lock, std::chrono::milliseconds(100),
                          [&] { return undone_ == 0 || is_starving(); });
        if (progress) progress->update(answered_before() + graded_, note());
      }
      if (interrupted()) stop_asking(/*signalled=*/true);
      over = meet();
    }
  }
  bool is_starving() const { return !no_more_ && !ended_ && mine_.empty() && talking_ < talkers_; }
  // Nothing more is taken up here: a signal came, or another rank stops.
  void stop_asking(bool signalled) {
    {
      const std::lock_guard lock(mutex_);
      if (ended_) return;
      interrupted_ = signalled;
      end();
    }
    if (signalled && group_.is_first()) say_interrupted();
    answerer_.stop();
  }

  bool meet() {
    const Spread::Heard heard = spread_.meet(what_to_say());
    if (heard.stops) stop_asking(/*signalled=*/false);
    for (const std::string& rows : heard.rows) keep_rows_of_another(rows);
    const std::lock_guard lock(mutex_);
    if (!ended_) {
      mine_.insert(mine_.end(), heard.dealt.begin(), heard.dealt.end());
      undone_ += std::ssize(heard.dealt);
    }
    no_more_ = spread_.all_dealt() || heard.over;
    changed_.notify_all();
    return heard.over;
  }
  // One rank alone takes all; of several each what it will soon take up.
  Spread::Said what_to_say() {
    const std::lock_guard lock(mutex_);
    const int64_t ahead = talkers_ + done_lately_ - talking_ - std::ssize(mine_);
    done_lately_ = 0;
    const int64_t wanted = group_.size() == 1 ? spread_.open_count() : std::max<int64_t>(ahead, 0);
    return {.wanted = ended_ ? 0 : wanted,
            .undone = undone_,
            .stops = ended_,
            .rows = to_first_.take()};
  }
  void keep_rows_of_another(const std::string& rows) {
    Unpacker in(rows);
    while (!in.empty()) {
      AnswerRow row = row_of(jobs_[static_cast<size_t>(in.number<int64_t>())]);
      unpack_answer(in.text(), row);
      try {
        store_->put(subject_, row);
      } catch (...) {
        return give_up(std::current_exception());
      }
      const std::lock_guard lock(mutex_);
      count(row);
    }
  }
  std::string note() const {
    if (graded_ == 0) return "";
    return fmt::format("{}, {:.1f} % so far", task_,
                       100 * score_sum_ / static_cast<double>(graded_));
  }

  // Of all ranks together.
  void tell() {
    if (apart_) std::rethrow_exception(fault_);
    std::array<int64_t, 3> counts{failures_, ungraded_, interrupted_ ? 1 : 0};
    if (!group_.is_first()) counts[1] = 0;  // The first one has seen all grades.
    group_.all_reduce(std::span<int64_t>(counts), "the end of measuring");
    group_.together("measuring", [&] {
      if (fault_) std::rethrow_exception(fault_);
    });
    if (counts[2] > 0)
      fail(ErrorCode::kInterrupted,
           "interrupted; the answers so far are kept: the same command goes on");
    if (!group_.is_first()) return;
    if (counts[1] > 0)
      log_warn("{}: {} of {} answers could not be graded; the same command grades them again",
               subject_, counts[1], graded_);
    if (counts[0] > 0)
      log_warn("{}: {} questions stay unanswered; the same command asks them again", subject_,
               counts[0]);
  }

  std::string subject_;
  Answerer& answerer_;
  AnswerStore* store_;
  MeasureOptions options_;
  Group& group_;
  std::vector<Job> jobs_;
  Remaining remaining_;
  Spread spread_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<int64_t> mine_;  // positions in jobs_ that nobody took up yet
  bool no_more_ = false;      // no rank leaves any
  std::deque<Waiting> waiting_;
  int64_t grades_again_;  // that failed before
  Packer to_first_;
  int64_t undone_, done_lately_ = 0, talking_ = 0, talkers_ = 0;
  int64_t graded_ = 0, failures_ = 0, failures_in_row_ = 0, grader_failures_ = 0, ungraded_ = 0;
  double score_sum_ = 0;
  std::string task_;
  bool ended_ = false, interrupted_ = false, gone_ = false;
  bool apart_ = false;  // the ranks no longer meet
  std::exception_ptr fault_;
};

std::string items_hash(const std::vector<Item>& items) {
  uint64_t hash = 0;
  for (const Item& item : items) hash = xxh64(item_to_json(item).dump(), hash);
  return fmt::format("{:016x}", hash);
}

}  // namespace

PreparedTask prepare_task(const SuiteEntry& entry, const DataFolders& folders,
                          const GraderWorld& world) {
  PreparedTask out{.entry = entry};
  out.environment = task_environment(entry.task, folders, world);
  std::vector<Item> items = task_items(entry.task, folders);
  out.items_total = std::ssize(items);
  out.items_hash = items_hash(items);
  out.environment_facts = environment_facts(entry.task, folders, world);
  out.items = spaced_items(std::move(items), entry.items_max);
  for (const Item& item : out.items) {
    try {
      out.environment->check(item);
    } catch (const Error& error) {
      const std::string task = "task " + entry.task.name, said = error.what();
      throw Error(error.code(), said.starts_with(task) ? said : task + ": " + said);
    }
  }
  return out;
}

Json measure_settings(const PreparedTask& task, uint64_t seed) {
  const TaskSpec& spec = task.entry.task;
  Json ask = Json::object();
  const Json all = to_json(task.entry.ask);
  for (const auto& [name, value] : all.as_object())
    if (name != "samples") ask[name] = value;
  Json out = Json::object();
  out["seed"] = static_cast<int64_t>(seed);
  out["ask"] = std::move(ask);
  out["mode"] = name_of(spec.mode);
  out["form"] = name_of(spec.form);
  if (!spec.stop.empty()) out["stop"] = Json::array_of(spec.stop);
  const Json& grader = spec.environment.is_null() ? spec.grader : spec.environment;
  out["grader"] = program_identity(grader);
  Json files = program_files(grader);
  for (const Item& item : task.items)
    if (const Json* own = item.fields.find("grader")) add_program_files(*own, files);
  if (!files.is_null()) out[kGraderFiles] = std::move(files);
  out["items"] = task.items_hash;
  if (!task.environment_facts.is_null()) out["environment"] = task.environment_facts;
  return out;
}

MeasureRow measure_row(const PreparedTask& task, uint64_t seed) {
  const TaskSpec& spec = task.entry.task;
  Json about = Json::object();
  about["title"] = spec.label();
  about["about"] = spec.about;
  about["category"] = spec.category;
  about["metric"] = spec.metric;
  about["metrics"] = Json::array_of(spec.metrics);
  about["mean"] = name_of(spec.mean);
  about["licence"] = spec.source.licence;
  about["source"] =
      spec.source.repository.empty() ? spec.source.huggingface : spec.source.repository;
  std::vector<std::string> ids;
  for (const Item& item : task.items) ids.push_back(item.id);
  return {.task = spec.name,
          .settings = measure_settings(task, seed),
          .about = std::move(about),
          .items = std::move(ids),
          .items_total = task.items_total,
          .samples = task.entry.ask.samples};
}

void measure(const std::vector<PreparedTask>& tasks, const std::string& subject, Answerer& answerer,
             AnswerStore* store, const MeasureOptions& options, Group& group) {
  DURE_CHECK_EQ(store != nullptr, group.is_first());
  Measuring(tasks, subject, answerer, store, options, group).run();
}

}  // namespace dure
