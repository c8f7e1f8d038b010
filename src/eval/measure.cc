// Threads that converse take the next question from one list; what they end goes through a bounded
// queue to threads that grade and store.
#include "eval/measure.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <map>
#include <mutex>
#include <thread>

#include "base/error.h"
#include "base/hash.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "base/progress.h"
#include "eval/conversing.h"
#include "grade/program_files.h"
#include "grade/verifier_process.h"
#include "suite/task_items.h"

namespace dure {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

class Measuring {
 public:
  Measuring(const std::vector<PreparedTask>& tasks, const std::string& subject, Answerer& answerer,
            AnswerStore& store, const MeasureOptions& options)
      : subject_(subject), answerer_(answerer), store_(store), options_(options) {
    for (const PreparedTask& task : tasks) add_jobs(task);
  }

  void run() {
    tell_again();
    before_ = total_ - std::ssize(jobs_) - std::ssize(waiting_);
    if (jobs_.empty() && waiting_.empty()) return;
    Progress progress(subject_, total_, "answers");
    progress.start_at(before_);
    std::vector<std::thread> threads;
    const int64_t talkers = std::min<int64_t>(options_.concurrency, std::ssize(jobs_));
    talkers_ = talkers;
    for (int64_t i = 0; i < talkers; ++i) threads.emplace_back([this] { talk(); });
    for (int64_t i = 0; i < options_.grading_threads; ++i)
      threads.emplace_back([this] { grade(); });
    watch(progress);
    for (std::thread& thread : threads) thread.join();
    tell(progress);
  }

 private:
  void add_jobs(const PreparedTask& task) {
    const auto known = store_.answered(subject_, task.entry.task.name);
    std::map<std::pair<std::string, int64_t>, AnswerRow> ungraded;
    for (AnswerRow& row : store_.ungraded(subject_, task.entry.task.name))
      ungraded[{row.item, row.sample}] = std::move(row);
    total_ += std::ssize(task.items) * task.entry.ask.samples;
    for (const Item& item : task.items) {
      for (int64_t sample = 0; sample < task.entry.ask.samples; ++sample) {
        const Job job{&task, &item, sample};
        const auto row = ungraded.find({item.id, sample});
        if (row != ungraded.end() && answers_alone(job)) {
          waiting_.push_back({.job = job, .row = std::move(row->second), .known = true});
        } else if (row != ungraded.end() || !known.contains({item.id, sample})) {
          jobs_.push_back(job);
          plays_again_ += row != ungraded.end() ? 1 : 0;
        }
      }
    }
    grades_again_ = std::ssize(waiting_);
  }
  // Its grade is of one answer, which is kept: no environment has to say anything again.
  static bool answers_alone(const Job& job) { return job.task->entry.task.environment.is_null(); }
  void tell_again() const {
    if (grades_again_ > 0)
      log_info("{}: {} answers that could not be graded before are graded again", subject_,
               grades_again_);
    if (plays_again_ > 0)
      log_info("{}: {} episodes that their environment failed before are played again", subject_,
               plays_again_);
  }

  std::optional<Job> next() {
    const std::lock_guard lock(mutex_);
    if (ended_ || next_ == jobs_.size()) return std::nullopt;
    return jobs_[next_++];
  }

  void talk() {
    while (const std::optional<Job> job = next()) {
      try {
        Ended ended = converse(*job, answerer_, options_.seed);
        hand_on(std::move(ended));
      } catch (const GraderGone&) {
        give_up(std::current_exception());
      } catch (const Error& error) {
        if (error.code() == ErrorCode::kInterrupted) break;
        count_failure(*job, error);
      } catch (...) {
        give_up(std::current_exception());
      }
    }
    const std::lock_guard lock(mutex_);
    --talkers_;
    changed_.notify_all();
  }

  void hand_on(Ended ended) {
    std::unique_lock lock(mutex_);
    failures_in_row_ = 0;
    const size_t waiting_max = static_cast<size_t>(4 * options_.concurrency);
    changed_.wait(lock, [&] { return waiting_.size() < waiting_max || ended_; });
    waiting_.push_back(std::move(ended));
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
      ended_ = true;
      changed_.notify_all();
    }
    answerer_.stop();
  }

  std::optional<Ended> next_ended() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !waiting_.empty() || talkers_ == 0; });
    if (waiting_.empty()) return std::nullopt;
    Ended out = std::move(waiting_.front());
    waiting_.pop_front();
    ++grading_;
    changed_.notify_all();
    return out;
  }

  void grade() {
    while (std::optional<Ended> ended = next_ended()) {
      try {
        if (stopping()) {
          leave_ungraded(*ended);
        } else if (give_grade(*ended)) {
          keep(*ended);
        }
      } catch (const GraderGone&) {
        note_gone();
        give_up(std::current_exception());
        leave_ungraded(*ended);
      } catch (...) {
        give_up(std::current_exception());
      }
      const std::lock_guard lock(mutex_);
      --grading_;
      changed_.notify_all();
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
  void leave_ungraded(Ended& ended) {
    if (ended.known || !answers_alone(ended.job)) return;
    ended.row.grade = Grade::unknown("", "not graded yet: the run was stopped before");
    ended.row.grade.failure = verifier_failure_name(VerifierFailure::kInterrupted);
    store_.put(subject_, ended.row);
  }
  // Of an answer that was kept.
  void begin_again(Ended& ended) const {
    const Environment& environment = *ended.job.task->environment;
    ended.episode = environment.begin(*ended.job.item);
    ended.episode->start();
    ended.episode->reply(ended.row.answer);
  }
  // False where the world did not let it be graded: it stays unanswered.
  bool give_grade(Ended& ended) {
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
          leave_ungraded(ended);
        else
          count_failure(ended.job, Error(error.code(), std::string("grading: ") + error.what()));
        return false;
      }
    }
    ended.row.grade_seconds = seconds_since(begin);
    return true;
  }
  void keep(const Ended& ended) {
    store_.put(subject_, ended.row);
    const std::lock_guard lock(mutex_);
    ++graded_;
    const std::string& failure = ended.row.grade.failure;
    if (failure == "grader" && ++grader_failures_ == 1)
      log_warn("task {}, item {}: {}", ended.row.task, ended.row.item, ended.row.grade.reason);
    ungraded_ += failure.empty() ? 0 : 1;
    const std::optional<double>& score = ended.row.grade.score;
    score_sum_ += score.value_or(0);
    task_ = ended.row.task;
    changed_.notify_all();
  }

  // Until all is graded, or ended.
  void watch(Progress& progress) {
    const InterruptScope scope;
    std::unique_lock lock(mutex_);
    while (talkers_ > 0 || !waiting_.empty() || grading_ > 0) {
      changed_.wait_for(lock, std::chrono::milliseconds(100));
      progress.update(before_ + graded_, note());
      if (ended_ || !interrupted()) continue;
      ended_ = interrupted_ = true;
      changed_.notify_all();
      lock.unlock();
      say_interrupted();
      answerer_.stop();
      lock.lock();
    }
  }
  std::string note() const {
    if (graded_ == 0) return "";
    return fmt::format("{}, {:.1f} % so far", task_,
                       100 * score_sum_ / static_cast<double>(graded_));
  }

  void tell(Progress& progress) {
    progress.update(before_ + graded_, note());
    progress.finish(note());
    if (fault_) std::rethrow_exception(fault_);
    if (interrupted_) {
      const InterruptScope scope;
      throw_if_interrupted("the answers so far are kept: the same command goes on");
    }
    if (ungraded_ > 0)
      log_warn("{}: {} of {} answers could not be graded; the same command grades them again",
               subject_, ungraded_, graded_);
    if (failures_ > 0)
      log_warn("{}: {} questions stay unanswered; the same command asks them again", subject_,
               failures_);
  }

  std::string subject_;
  Answerer& answerer_;
  AnswerStore& store_;
  MeasureOptions options_;
  std::vector<Job> jobs_;
  int64_t total_ = 0, before_ = 0;              // before_: done already
  int64_t grades_again_ = 0, plays_again_ = 0;  // that failed before

  std::mutex mutex_;
  std::condition_variable changed_;
  size_t next_ = 0;
  std::deque<Ended> waiting_;
  int64_t talkers_ = 0, grading_ = 0, graded_ = 0, failures_ = 0, failures_in_row_ = 0;
  int64_t grader_failures_ = 0, ungraded_ = 0;
  double score_sum_ = 0;
  std::string task_;
  bool ended_ = false, interrupted_ = false, gone_ = false;
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
             AnswerStore& store, const MeasureOptions& options) {
  Measuring(tasks, subject, answerer, store, options).run();
}

}  // namespace dure
