// Held-out text through the scorer in pieces that overlap by a token; problems through the
// generator, all at once. The yardstick xz is run as a program, where there is one.
#include "eval/evaluate.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "base/progress.h"
#include "data/corpus.h"
#include "engine/generator.h"
#include "engine/known_tokens.h"
#include "engine/scorer.h"
#include "eval/grader.h"
#include "eval/xz_size.h"
#include "model/context_fit.h"

namespace dure {
namespace {

// Sums -log2 p over texts, in pieces of `context_tokens`; neighbouring pieces share one token, so
// that every token but a text's first is predicted once. That first one, which nothing predicts, is
// charged log2(V) bits.
class TextScorer {
 public:
  TextScorer(const EvalSubject& subject, int64_t context_tokens, Stream& stream)
      : subject_(subject),
        context_tokens_(context_tokens),
        scorer_(subject.weights, {.sequence_tokens_max = context_tokens}, stream) {}

  void add(const std::string& text) {
    const std::vector<int32_t> ids = subject_.texts.require_tokenizer().encode(text);
    require_known_tokens(ids, subject_.weights.config.vocab_size,
                         subject_.model + ": its tokenizer's token");
    bytes_ += std::ssize(text);
    tokens_ += std::ssize(ids);
    if (ids.empty()) return;
    bits_ += std::log2(static_cast<double>(subject_.weights.config.vocab_size));
    std::vector<std::span<const int32_t>> pieces;
    for (size_t begin = 0; begin + 1 < ids.size();
         begin += static_cast<size_t>(context_tokens_ - 1)) {
      const size_t count = std::min(ids.size() - begin, static_cast<size_t>(context_tokens_));
      pieces.push_back(std::span(ids).subspan(begin, count));
    }
    double nats = 0;
    scorer_.score(pieces, [&](const ScoredRows& rows) {
      for (const float p : rows.log_probability) nats -= p;
    });
    bits_ += nats / std::log(2.0);
  }

  int64_t bytes() const { return bytes_; }
  int64_t tokens() const { return tokens_; }
  double bits_per_byte() const { return bytes_ > 0 ? bits_ / static_cast<double>(bytes_) : 0; }
  void reset() {
    bytes_ = tokens_ = 0;
    bits_ = 0;
  }

 private:
  const EvalSubject& subject_;
  int64_t context_tokens_;
  Scorer scorer_;
  int64_t bytes_ = 0, tokens_ = 0;
  double bits_ = 0;
};

[[noreturn]] void refuse_no_text(const Path& corpus) {
  fail(ErrorCode::kInvalidArgument, "{} holds no held-out text: there is nothing to score",
       corpus.string());
}

Json score_texts(const TextSuiteOptions& options, const EvalSubject& subject, Stream& stream) {
  Json rows = Json::array();
  const Path corpus(options.corpus);
  const std::vector<std::string> languages = heldout_languages(corpus);
  if (languages.empty()) refuse_no_text(corpus);
  warn_beyond_context(subject.weights.config, options.context_tokens,
                      subject.name + ": text.context_tokens");
  const InterruptScope scope;
  TextScorer scorer(subject, options.context_tokens, stream);
  Progress progress(subject.name + ": held-out text", static_cast<int64_t>(languages.size()),
                    "languages");
  for (const std::string& language : languages) {
    scorer.reset();
    std::string all;
    for_each_record(heldout_file(corpus, language), [&](const Record& record) {
      if (options.bytes_max > 0 && static_cast<int64_t>(all.size()) >= options.bytes_max) return;
      throw_if_interrupted("nothing was saved");
      scorer.add(record.text);
      all += record.text;
    });
    if (scorer.bytes() == 0) {
      log_warn("{}: holds no text: {} is left out", heldout_file(corpus, language).string(),
               language);
      continue;
    }
    Json row = Json::object();
    row["language"] = language;
    row["bytes"] = scorer.bytes();
    row["tokens"] = scorer.tokens();
    row["bits_per_byte"] = scorer.bits_per_byte();
    if (const auto size = xz_size(all); size && !all.empty())
      row["xz_bits_per_byte"] = 8.0 * static_cast<double>(*size) / static_cast<double>(all.size());
    rows.push_back(row);
    progress.update(static_cast<int64_t>(rows.size()),
                    fmt::format("{} {:.2f} bits a byte", language, scorer.bits_per_byte()));
  }
  progress.finish();
  if (rows.size() == 0) refuse_no_text(corpus);
  return rows;
}

struct Answers {
  std::vector<Generation> generations;
  std::vector<Verdict> verdicts;
  int64_t right() const {
    return std::count_if(verdicts.begin(), verdicts.end(),
                         [](const Verdict& v) { return v.right; });
  }
};

// How questions are put.
struct Setting {
  int64_t turns = 1;
  Thinking thinking = Thinking::kOn;
  Json turns_and_thinking() const {
    Json out = Json::object();
    out["turns"] = turns;
    out["thinking"] = thinking == Thinking::kOn;
    return out;
  }
  std::string text() const {
    return fmt::format("{}{}", turns == 1 ? "problems" : fmt::format("question {}", turns),
                       thinking == Thinking::kOn ? "" : ", no thinking");
  }
};

// The headline first.
std::vector<Setting> settings_of(const TaskSuiteOptions& options) {
  std::vector<Setting> out;
  for (const Thinking thinking : options.thinking) {
    for (const int64_t turns : options.turns) out.push_back({turns, thinking});
  }
  return out;
}

struct Questions {
  Setting setting;
  std::vector<Dialogue> dialogues;
  std::vector<std::vector<int32_t>> prompts;
  int64_t too_long = 0;  // left out or cut
  PromptRoom room;       // that they need
};

Questions ask(const EvalSuite& suite, const std::vector<Problem>& problems, const Setting& setting,
              const PromptRoom& largest, const ChatTexts& texts) {
  const TaskSuiteOptions& options = suite.tasks;
  Questions out{.setting = setting,
                .room = {.prompt_tokens_max = 1, .new_tokens_max = largest.new_tokens_max}};
  for (size_t i = 0; i < problems.size(); ++i) {
    Rng rng(static_cast<uint64_t>(suite.seed), stream_id("earlier questions", i));
    Dialogue dialogue =
        make_dialogue(options.mixture, problems[i], setting.turns, Split::kHeldout, rng);
    std::vector<int32_t> prompt = problem_conversation(dialogue, texts, setting.thinking).prompt();
    const int64_t tokens = std::ssize(prompt);
    const bool too_long = tokens > largest.prompt_tokens_max;
    if (too_long && options.long_prompts == TooLong::kRefuse) {
      fail(
          ErrorCode::kInvalidArgument,
          "tasks: a prompt of {} tokens (task {}, turns {}) and an answer of {} do not fit: {} are "
          "left for a prompt; shorten the task or new_tokens_max, or set long_prompts to drop or "
          "truncate",
          tokens, task_name(problems[i].task), setting.turns, options.new_tokens_max,
          largest.prompt_tokens_max);
    }
    out.too_long += too_long ? 1 : 0;
    if (too_long && options.long_prompts == TooLong::kDrop) continue;
    keep_last(prompt, largest.prompt_tokens_max);
    out.room.prompt_tokens_max = std::max<int64_t>(out.room.prompt_tokens_max, std::ssize(prompt));
    out.dialogues.push_back(std::move(dialogue));
    out.prompts.push_back(std::move(prompt));
  }
  if (out.dialogues.empty())
    fail(ErrorCode::kInvalidArgument, "tasks: no problem is left to answer");
  return out;
}

Answers answer_all(const TaskSuiteOptions& options, const SamplingOptions& sampling,
                   const Questions& questions, uint64_t seed, const EvalSubject& subject,
                   Generator& generator, const std::string& title) {
  const std::vector<Dialogue>& dialogues = questions.dialogues;
  std::vector<GenerationRequest> requests;
  for (size_t i = 0; i < dialogues.size(); ++i) {
    requests.push_back({.prompt = questions.prompts[i],
                        .sampling = sampling,
                        .new_tokens_max = options.new_tokens_max,
                        .stop_tokens = subject.texts.require_stop_tokens(),
                        .stream = stream_id("evaluation", i)});
    requests.back().sampling.seed = seed;
  }
  Answers answers;
  const InterruptScope scope;
  Progress progress(subject.name + ": " + title, std::ssize(dialogues), "problems");
  answers.generations = generator.run(std::move(requests), [&](int64_t finished) {
    throw_if_interrupted("nothing was saved");
    progress.update(finished);
  });
  for (size_t i = 0; i < dialogues.size(); ++i) {
    answers.verdicts.push_back(judge(dialogues[i].problem, answers.generations[i], subject.texts,
                                     questions.setting.thinking));
  }
  progress.finish(fmt::format("{:.1f} % right", 100.0 * static_cast<double>(answers.right()) /
                                                    static_cast<double>(dialogues.size())));
  return answers;
}

void add_cells(const Questions& questions, const Answers& answers, Json& rows) {
  std::map<std::pair<int, std::string>, std::pair<int64_t, int64_t>> cells;
  for (size_t i = 0; i < questions.dialogues.size(); ++i) {
    const Problem& problem = questions.dialogues[i].problem;
    auto& [right, total] = cells[{static_cast<int>(problem.task), problem.language}];
    right += answers.verdicts[i].right ? 1 : 0;
    ++total;
  }
  for (const auto& [key, counts] : cells) {
    Json row = questions.setting.turns_and_thinking();
    row["task"] = task_name(static_cast<Task>(key.first));
    row["language"] = key.second;
    row["right"] = counts.first;
    row["total"] = counts.second;
    rows.push_back(row);
  }
}

Json sample_of(const Setting& setting, const Dialogue& dialogue, const Verdict& verdict) {
  Json row = Json::object();
  row["turns"] = setting.turns;
  row["thinking_on"] = setting.thinking == Thinking::kOn;
  row["task"] = task_name(dialogue.problem.task);
  row["language"] = dialogue.problem.language;
  row["earlier"] = earlier_json(dialogue.earlier);
  row["prompt"] = dialogue.problem.prompt;
  row["thinking"] = verdict.reasoning;
  row["content"] = verdict.content;
  row["expected"] = dialogue.problem.answer;
  row["right"] = verdict.right;
  return row;
}

// How an answer ended: what there is to say of a blank one.
void add_ending(const Generation& generation, const Verdict& verdict, Json& row) {
  row["tokens"] = static_cast<int64_t>(generation.tokens.size());
  row["finish"] = generation.finish == FinishReason::kLength ? "length" : "stop";
  row["reasoning_closed"] = verdict.reasoning_closed;
}

// Evenly spread over the grid, so that tasks and languages all show.
void add_samples(const Questions& questions, const Answers& answers, int64_t count, Json& rows) {
  const int64_t n = std::ssize(questions.dialogues);
  for (int64_t k = 0; k < std::min(count, n); ++k) {
    const size_t i = static_cast<size_t>((2 * k + 1) * n / (2 * std::min(count, n)));
    rows.push_back(sample_of(questions.setting, questions.dialogues[i], answers.verdicts[i]));
    add_ending(answers.generations[i], answers.verdicts[i], rows.as_array().back());
  }
}

Json summary_of(const Questions& questions, const Answers& answers) {
  double tokens = 0;
  double unfinished = 0;
  for (const Generation& g : answers.generations) {
    tokens += static_cast<double>(g.tokens.size());
    unfinished += g.finish == FinishReason::kLength ? 1 : 0;
  }
  const double count = static_cast<double>(answers.generations.size());
  Json row = questions.setting.turns_and_thinking();
  row["right"] = answers.right();
  row["total"] = std::ssize(answers.verdicts);
  row["mean_answer_tokens"] = tokens / count;
  row["unfinished_share"] = unfinished / count;
  return row;
}

// The questions of every setting, before any is answered: what does not fit is refused first.
std::vector<Questions> ask_all(const EvalSuite& suite, const EvalSubject& subject, Json& results) {
  const TaskSuiteOptions& o = suite.tasks;
  const PromptRoom largest = largest_room({.context_tokens_max = o.context_tokens_max,
                                           .new_tokens_max = o.new_tokens_max,
                                           .model_tokens = subject.weights.config.context_tokens},
                                          "tasks");
  const std::vector<Problem> problems = make_problem_grid(
      o.mixture, Split::kHeldout, static_cast<uint64_t>(suite.seed), o.problems_per_cell);
  std::vector<Questions> out;
  int64_t too_long = 0;
  for (const Setting& setting : settings_of(o)) {
    out.push_back(ask(suite, problems, setting, largest, subject.texts));
    too_long += out.back().too_long;
  }
  if (too_long > 0) {
    results["too_long"] = too_long;
    log_warn("tasks: {} prompts are longer than {} tokens: {}", too_long, largest.prompt_tokens_max,
             o.long_prompts == TooLong::kDrop ? "left out" : "only their ends are read");
  }
  return out;
}

Generator generator_for(const std::vector<Questions>& all, const TaskSuiteOptions& options,
                        const EvalSubject& subject, Stream& stream) {
  int64_t count = 1;
  int64_t context = 1;
  for (const Questions& questions : all) {
    count = std::max<int64_t>(count, std::ssize(questions.dialogues));
    context = std::max(context, questions.room.context_tokens());
  }
  const int64_t together = std::min(options.sequences_max, count);
  return Generator(subject.weights,
                   {.sequences_max = together,
                    .context_tokens_max = context,
                    .batch_rows_max = std::max<int64_t>(512, together),
                    .kv_dtype = subject.kv_dtype,
                    .prefix = {.keep = true}},
                   stream);
}

void solve_tasks(const EvalSuite& suite, const EvalSubject& subject, Stream& stream,
                 Json& results) {
  const TaskSuiteOptions& o = suite.tasks;
  const uint64_t seed = static_cast<uint64_t>(suite.seed);
  const std::vector<Questions> all = ask_all(suite, subject, results);
  Generator generator = generator_for(all, o, subject, stream);
  Json settings = Json::array(), cells = Json::array(), samples = Json::array();
  for (const Questions& questions : all) {
    const bool headline = &questions == &all.front();
    const Answers answers =
        answer_all(o, o.sampling, questions, seed, subject, generator, questions.setting.text());
    settings.push_back(summary_of(questions, answers));
    add_cells(questions, answers, cells);
    add_samples(questions, answers, headline ? o.sample_count : o.sample_count / 4, samples);
  }
  results["settings"] = settings;
  results["exact_match"] = cells;
  for (const char* field : {"mean_answer_tokens", "unfinished_share"})
    results[field] = settings.at(size_t{0}).at(field);
  if (o.greedy) {
    const Answers greedy = answer_all(o, {.temperature = 0}, all.front(), seed, subject, generator,
                                      all.front().setting.text() + ", greedy");
    results["greedy_exact_match"] =
        static_cast<double>(greedy.right()) / static_cast<double>(greedy.verdicts.size());
  }
  results["samples"] = samples;
}

// Each entry is a setting that is measured: twice the same would count its problems twice.
template <typename T>
void require_distinct(const std::vector<T>& list, const std::string& where) {
  for (size_t i = 0; i < list.size(); ++i) {
    if (std::find(list.begin(), list.begin() + static_cast<std::ptrdiff_t>(i), list[i]) ==
        list.begin() + static_cast<std::ptrdiff_t>(i))
      continue;
    fail(ErrorCode::kInvalidArgument, "{} holds the same entry twice (entry {}): name each once",
         where, i + 1);
  }
}

}  // namespace

void check_suite(const EvalSuite& suite, const std::string& where) {
  require_distinct(suite.tasks.turns, where + ": tasks.turns");
  require_distinct(suite.tasks.thinking, where + ": tasks.thinking");
  check_needles(suite.needle, suite.text.corpus, where);
  if (suite.text.corpus.empty() && suite.tasks.problems_per_cell == 0) {
    fail(ErrorCode::kInvalidArgument,
         "{}: nothing to measure: set text.corpus to a prepared corpus, or tasks.problems_per_cell "
         "above 0",
         where);
  }
  for (const int64_t turns : suite.tasks.turns) {
    if (turns < 1 || turns > kTurnsMax)
      fail(ErrorCode::kInvalidArgument, "{}: tasks.turns holds {}: it should be from 1 to {}",
           where, turns, kTurnsMax);
  }
  if (suite.tasks.turns.empty() || suite.tasks.thinking.empty())
    fail(ErrorCode::kInvalidArgument, "{}: tasks.{} is empty: name at least one", where,
         suite.tasks.turns.empty() ? "turns" : "thinking");
}

Json evaluate(const EvalSuite& suite, const EvalSubject& subject, Stream& stream) {
  check_mixture(suite.tasks.mixture, "tasks.mixture");
  Json results = Json::object();
  results["name"] = subject.name;
  results["model"] = subject.model;
  if (!suite.text.corpus.empty())
    results["bits_per_byte"] = score_texts(suite.text, subject, stream);
  if (suite.tasks.problems_per_cell > 0) solve_tasks(suite, subject, stream, results);
  if (!suite.needle.lengths.empty()) {
    results["needle"] =
        find_needles(suite.needle, suite.text.corpus, static_cast<uint64_t>(suite.seed),
                     subject.name, subject.weights, subject.texts, stream);
  }
  return results;
}

}  // namespace dure
