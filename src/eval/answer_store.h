// eval/answer_store.h: every answer of a measurement, on disk as soon as it is graded.
//
// Owns answers.sqlite in the folder of a report: who was measured (subjects), on which tasks under
// which settings (measures), and an answer a row, by subject, task, item and sample. A killed run
// goes on where it ended. Any thread may use it. Not here: sampling (measure.h), counting
// (task_score.h).
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "eval/answerer.h"

namespace dure {

struct AnswerRow {
  std::string task, item;
  int64_t sample = 0;
  std::string group;
  Json messages;  // all of the conversation, the answer not among them where it is the only one
  Json expected;  // the item's reference
  Answer answer;  // the last
  SaidEnd end = SaidEnd::kStop;
  int64_t turns = 1, prompt_tokens = 0, tokens = 0;
  double seconds = 0, grade_seconds = 0;
  Grade grade;
};

// A task as it is measured of one subject.
struct MeasureRow {
  std::string task;
  Json settings;  // all that the answers and their grades depend on, beside the samples
  Json about;     // of the task, for reports: title, category, metric, ...
  std::vector<std::string> items;  // ids of those that are to be answered
  int64_t items_total = 0;         // that the task has
  int64_t samples = 1;             // answers to each
};

struct SubjectRow {
  std::string name;
  Json identity;  // of the model
  Json facts;     // of the machine and the program, for reports
};

// Of MeasureRow::settings: the files that a grader's program is made of, by content.
inline constexpr const char* kGraderFiles = "grader_files";

class AnswerStore {
 public:
  // Opens `file`; makes it where it is not there. Throws kIo, kPermission, kCorrupt, kUnsupported
  // (of a newer program) naming the file.
  explicit AnswerStore(const Path& file);
  // One that is there, to read; also where nothing can be written. Throws kNotFound.
  static AnswerStore open_existing(const Path& file);
  ~AnswerStore();
  AnswerStore(AnswerStore&&) noexcept;

  // Throws kInvalidArgument, saying what differs, where the subject has answers of another model.
  void begin_subject(const SubjectRow& subject);
  // Throws kInvalidArgument, saying what differs, where the task has answers under other settings.
  // Items and samples may grow; how a grader's program is run may change. Where its files have
  // (kGraderFiles), all answers become ungraded, which is told as a warning.
  void begin_measure(const std::string& subject, const MeasureRow& measure);
  void set_suite(const Json& suite);
  Json suite() const;

  bool empty() const;  // holds no answer

  void put(const std::string& subject, const AnswerRow& row);
  // (item, sample) that are answered, graded or not.
  std::set<std::pair<std::string, int64_t>> answered(const std::string& subject,
                                                     const std::string& task) const;

  // Whose grading failed, or was never come to (Grade::failure): to be graded again.
  std::vector<AnswerRow> ungraded(const std::string& subject, const std::string& task) const;

  std::vector<SubjectRow> subjects() const;
  std::vector<MeasureRow> measures(const std::string& subject) const;
  // By item, then sample.
  std::vector<AnswerRow> answers(const std::string& subject, const std::string& task) const;

 private:
  struct Database;
  static void grade_again(const Database& database, const std::string& subject,
                          const std::string& task, const std::string& changed);
  explicit AnswerStore(std::unique_ptr<Database> database);
  std::unique_ptr<Database> database_;
};

// Where two settings differ, by the names of their fields: "seed: 1 and 2; ask: temperature: ...".
std::string settings_difference(const Json& before, const Json& now);

}  // namespace dure
