// Answers by prompt, in the order in which they were given; pairs of the first right and wrong
// ones.
#include "cli/preference_rows.h"

#include <algorithm>
#include <map>
#include <vector>

#include "base/error.h"
#include "data/input.h"
#include "data/preference_record.h"
#include "eval/answer_store.h"
#include "text/chat.h"

namespace dure {
namespace {

struct Scored {
  Json message;
  double score = 0;
  bool is_right() const { return score >= 0.5; }
};

// Equal answers once.
void add_new(const Scored& answer, std::vector<Scored>& list) {
  const bool known =
      std::ranges::any_of(list, [&](const Scored& s) { return s.message == answer.message; });
  if (!known) list.push_back(answer);
}

class Prompts {
 public:
  explicit Prompts(PreferenceRowsReport& report) : report_(report) {}

  // Left out where the row would be refused when it is read again.
  void add(const Json& prompt, const Message& answer, double score) {
    const Json message = messages_to_json({answer}).at(size_t{0});
    Json probe = Json::object();
    probe["prompt"] = prompt;
    probe["completion"] = message;
    probe["label"] = true;
    try {
      read_preference_record(probe, "answer");
    } catch (const Error&) {
      ++report_.skipped;
      return;
    }
    const std::string key = prompt.dump();
    const auto [at, is_new] = index_.try_emplace(key, answers_.size());
    if (is_new) {
      prompts_.push_back(prompt);
      answers_.emplace_back();
    }
    std::vector<Scored>& list = answers_[at->second];
    list.push_back({message, score});
  }

  std::string rows(const PreferenceRowsOptions& options) {
    std::string out;
    report_.prompts = std::ssize(prompts_);
    for (size_t i = 0; i < prompts_.size(); ++i) {
      std::vector<Scored> right, wrong;
      for (const Scored& s : answers_[i]) add_new(s, s.is_right() ? right : wrong);
      if (right.empty() || wrong.empty()) {
        ++report_.one_sided;
        continue;
      }
      if (options.groups) {
        out += group(prompts_[i], answers_[i]);
        continue;
      }
      const size_t pairs =
          std::min({right.size(), wrong.size(), static_cast<size_t>(options.pairs_max)});
      for (size_t p = 0; p < pairs; ++p) out += pair(prompts_[i], right[p], wrong[p]);
    }
    return out;
  }

 private:
  std::string line(const Json& row) {
    ++report_.rows;
    return row.dump() + "\n";
  }

  std::string pair(const Json& prompt, const Scored& right, const Scored& wrong) {
    Json row = Json::object();
    row["prompt"] = prompt;
    row["chosen"] = Json(Json::Array{right.message});
    row["rejected"] = Json(Json::Array{wrong.message});
    return line(row);
  }

  std::string group(const Json& prompt, const std::vector<Scored>& answers) {
    Json row = Json::object(), responses = Json::array(), rewards = Json::array();
    for (const Scored& s : answers) {
      responses.push_back(s.message);
      rewards.push_back(s.score);
    }
    row["prompt"] = prompt;
    row["responses"] = std::move(responses);
    row["rewards"] = std::move(rewards);
    return line(row);
  }

  PreferenceRowsReport& report_;
  std::map<std::string, size_t> index_;
  std::vector<Json> prompts_;
  std::vector<std::vector<Scored>> answers_;
};

void read_store(const Path& file, Prompts& prompts, PreferenceRowsReport& report) {
  const AnswerStore store = AnswerStore::open_existing(file);
  for (const SubjectRow& subject : store.subjects()) {
    for (const MeasureRow& measure : store.measures(subject.name)) {
      for (const AnswerRow& row : store.answers(subject.name, measure.task)) {
        ++report.answers;
        if (row.turns != 1 || row.end != SaidEnd::kStop || !row.grade.score ||
            !row.answer.tool_calls.empty()) {
          ++report.skipped;
          continue;
        }
        prompts.add(row.messages,
                    {.role = Role::kAssistant,
                     .content = row.answer.content,
                     .reasoning = row.answer.reasoning},
                    *row.grade.score);
      }
    }
  }
}

void read_samples(const Path& file, Prompts& prompts, PreferenceRowsReport& report) {
  LineReader lines(file);
  std::string line;
  while (lines.next(line)) {
    const std::string where = fmt::format("{}:{}", file.string(), lines.number());
    const Json row = parse_json(line, where);
    ++report.answers;
    // "turns": a conversation with an environment.
    if (row.contains("earlier") || row.contains("dropped") || row.contains("turns")) {
      ++report.skipped;
      continue;
    }
    // Of an item with more than a question.
    const Json* messages = row.find("messages");
    const Json prompt = messages != nullptr
                            ? *messages
                            : messages_to_json({{.role = Role::kUser,
                                                 .content = row.at("prompt").as_string(where)}});
    prompts.add(prompt,
                {.role = Role::kAssistant,
                 .content = row.at("content").as_string(where),
                 .reasoning = row.at("thinking").as_string(where)},
                row.at("reward").as_double(where));
  }
}

// The file in a folder; a file as it is.
Path answers_of(const Path& source) {
  if (!std::filesystem::is_directory(source)) return source;
  for (const char* name : {"answers.sqlite", "samples.jsonl"}) {
    if (path_exists(source / name)) return source / name;
  }
  fail(ErrorCode::kNotFound,
       "{}: neither answers.sqlite (of `dure eval`) nor samples.jsonl (of `dure rl`)",
       source.string());
}

}  // namespace

PreferenceRowsReport write_preference_rows(const Path& source, const Path& out,
                                           const PreferenceRowsOptions& options) {
  const Path file = answers_of(source);
  PreferenceRowsReport report;
  Prompts prompts(report);
  if (file.extension() == ".jsonl") {
    read_samples(file, prompts, report);
  } else {
    read_store(file, prompts, report);
  }
  const std::string rows = prompts.rows(options);
  if (rows.empty()) {
    fail(ErrorCode::kInvalidArgument,
         "{}: of {} answers to {} prompts no row comes: no prompt has a right answer and a wrong "
         "one; ask for more answers to each",
         file.string(), report.answers, report.prompts);
  }
  write_file(out, rows);
  return report;
}

}  // namespace dure
