// Drills come from the same grid as the held-out problems of a training run; needles from sentences
// that are put together from a few words.
#include "suite/generated_items.h"

#include <set>

#include "base/error.h"
#include "base/options.h"
#include "base/rng.h"
#include "data/input.h"
#include "data/tasks/dialogue.h"
#include "suite/needle_items.h"

namespace dure {
namespace {

struct DrillOptions {
  int64_t seed = 1;
  int64_t problems_per_cell = 3;
  int64_t turns = 1;
  TaskMixture mixture;
  template <typename V>
  void visit(V& v) {
    v("seed", seed, "of the problems");
    v("problems_per_cell", problems_per_cell, "problems for each kind and language", at_least(1));
    v("turns", turns, "questions of a conversation, whose last is measured", between(1, kTurnsMax));
    v("mixture", mixture, "kinds, difficulty, languages");
  }
};

Json problem_json(const Problem& problem) {
  Json out = Json::object();
  out["task"] = task_name(problem.task);
  out["language"] = problem.language;
  out["prompt"] = problem.prompt;
  out["answer"] = problem.answer;
  out["key"] = problem.key;
  return out;
}

Problem problem_of(const Json& json, const std::string& where) {
  Problem out{.language = json.at("language").as_string(where),
              .prompt = json.at("prompt").as_string(where),
              .answer = json.at("answer").as_string(where),
              .key = json.at("key").as_string(where)};
  const std::string& name = json.at("task").as_string(where);
  for (int i = 0; i < kTaskCount; ++i) {
    out.task = static_cast<Task>(i);
    if (name == task_name(out.task)) return out;
  }
  fail(ErrorCode::kInvalidArgument, "{}: there is no kind of problem '{}'", where, name);
}

std::vector<Item> drills(const DrillOptions& options, const std::string& where) {
  check_mixture(options.mixture, where + ": mixture");
  const std::vector<Problem> problems =
      make_problem_grid(options.mixture, Split::kHeldout, static_cast<uint64_t>(options.seed),
                        options.problems_per_cell);
  std::vector<Item> out;
  for (size_t i = 0; i < problems.size(); ++i) {
    Rng rng(static_cast<uint64_t>(options.seed), stream_id("earlier questions", i));
    const Dialogue dialogue =
        make_dialogue(options.mixture, problems[i], options.turns, Split::kHeldout, rng);
    out.push_back({.id = fmt::format("{} {}", problems[i].language, problems[i].key),
                   .group = task_name(problems[i].task),
                   .messages = question_messages(dialogue),
                   .reference = problem_json(problems[i])});
  }
  return out;
}

class DrillGrader : public Grader {
 public:
  Grade grade(const Item& item, const Answer& answer) const override {
    const Problem problem = problem_of(item.reference, "item " + item.id);
    if (!answer.finished) return Grade::wrong(answer.content, "cut before its end");
    if (!answer.tool_calls.empty()) return Grade::wrong("", "a call, and no answer");
    if (verify(problem, answer.content)) return Grade::right(answer.content);
    return Grade::wrong(answer.content, "the answer is " + problem.answer);
  }
  void check(const Item& item) const override { problem_of(item.reference, "item " + item.id); }
};

struct NeedleOptions {
  int64_t seed = 1;
  std::vector<int64_t> words = {200, 800};
  std::vector<int64_t> codes = {1, 4};
  int64_t items_per_cell = 3;
  template <typename V>
  void visit(V& v) {
    v("seed", seed, "of the texts and the codes");
    v("words", words, "lengths of the texts");
    v("codes", codes, "codes hidden in a text, and asked for");
    v("items_per_cell", items_per_cell, "items for each length and number of codes", at_least(1));
  }
};

constexpr const char* kWho[] = {"The baker", "A traveller", "Our neighbour", "The gardener",
                                "A student", "The captain", "An old friend", "The librarian"};
constexpr const char* kDid[] = {"walked along", "painted", "wrote about", "looked for",
                                "remembered",   "sold",    "measured",    "cleaned"};
constexpr const char* kWhat[] = {"the quiet river", "a wooden bridge",   "the harbour at dawn",
                                 "a box of apples", "the narrow street", "an empty house",
                                 "the long winter", "a map of the hills"};
constexpr const char* kNames[] = {"amber",   "birch",  "coral",  "delta",   "ember",
                                  "falcon",  "garnet", "harbor", "indigo",  "juniper",
                                  "kestrel", "lotus",  "maple",  "nectar",  "onyx",
                                  "pepper",  "quartz", "raven",  "saffron", "tulip"};

std::string filler_sentence(Rng& rng) {
  const auto one = [&](const auto& of) { return of[rng.below(std::ssize(of))]; };
  return fmt::format("{} {} {}. ", one(kWho), one(kDid), one(kWhat));
}

// A text of about `words` words with `count` codes at places of their own.
Item needle_item(int64_t words, int64_t count, int64_t number, uint64_t seed) {
  Rng rng(seed, stream_id("needles", static_cast<uint64_t>(words),
                          static_cast<uint64_t>(count * 1000 + number)));
  std::vector<std::string> names(std::begin(kNames), std::end(kNames));
  rng.shuffle(names);
  std::vector<std::string> sentences;
  for (int64_t said = 0; said < words; said += 7) sentences.push_back(filler_sentence(rng));
  std::string asked;
  Json codes = Json::array();
  std::set<std::string> used;
  for (int64_t i = 0; i < count; ++i) {
    std::string code;
    do {
      code = std::to_string(rng.between(100000, 999999));
    } while (!used.insert(code).second);
    const std::string& name = names[static_cast<size_t>(i)];
    const auto place = sentences.begin() + rng.below(std::ssize(sentences) + 1);
    sentences.insert(place, fmt::format("The code of {} is {}. ", name, code));
    asked += (i == 0 ? "" : i + 1 == count ? " and " : ", ") + name;
    codes.push_back(code);
  }
  std::string text;
  for (const std::string& sentence : sentences) text += sentence;
  text += fmt::format("\n\nThe text above tells codes. What {} the code{} of {}?",
                      count == 1 ? "is" : "are", count == 1 ? "" : "s", asked);
  return {.id = fmt::format("{} words {} codes {}", words, count, number),
          .group = fmt::format("{} words, {} code{}", words, count, count == 1 ? "" : "s"),
          .messages = {{.role = Role::kUser, .content = std::move(text)}},
          .reference = std::move(codes)};
}

std::vector<Item> needles(const NeedleOptions& options, const std::string& where) {
  std::vector<Item> out;
  for (const int64_t words : options.words) {
    for (const int64_t codes : options.codes) {
      if (words < 7 || codes < 1 || codes > std::ssize(kNames))
        fail(ErrorCode::kInvalidArgument, "{}: words are at least 7, codes 1 to {}", where,
             std::ssize(kNames));
      for (int64_t i = 0; i < options.items_per_cell; ++i)
        out.push_back(needle_item(words, codes, i, static_cast<uint64_t>(options.seed)));
    }
  }
  return out;
}

// Codes in a text of the user's, by length, depth and number; lengths in characters.
struct HaystackOptions : NeedleItemOptions {
  std::string text;
  template <typename V>
  void visit(V& v) {
    NeedleItemOptions::visit(v);
    v("text", text, "a text file to hide codes in; empty: a few sentences of the program's own");
  }
};

std::vector<Item> haystack(const Json& json, const std::string& where) {
  HaystackOptions options;
  from_json(options, json, where);
  const std::string text = options.text.empty() ? "" : read_text_input(options.text);
  return needle_items(options, text, count_characters, where);
}

class NeedleGrader : public Grader {
 public:
  Grade grade(const Item& item, const Answer& answer) const override {
    std::string found, missing;
    int64_t right = 0;
    const Json::Array& codes = item.reference.as_array("reference");
    for (const Json& code : codes) {
      const bool there = answer.content.find(code.as_string()) != std::string::npos;
      right += there ? 1 : 0;
      (there ? found : missing) += " " + code.as_string();
    }
    Grade out = missing.empty() ? Grade::right(found) : Grade::wrong(found, "without" + missing);
    out.score = static_cast<double>(right) / static_cast<double>(codes.size());
    return out;
  }
  void check(const Item& item) const override {
    for (const Json& code : item.reference.as_array("item " + item.id + ": reference"))
      code.as_string("item " + item.id + ": code");
    if (item.reference.size() == 0)
      fail(ErrorCode::kInvalidArgument, "item {}: no codes are asked for", item.id);
  }
};

template <typename G>
GraderMaker without_options() {
  return [](const Json& options, const GraderWorld&, const std::string& where) {
    if (!options.is_null()) fail(ErrorCode::kInvalidArgument, "{}: it has no options", where);
    return std::unique_ptr<Grader>(std::make_unique<G>());
  };
}

}  // namespace

std::vector<Item> generated_items(const TaskSpec& task) {
  const std::string where = "task " + task.name + ": generator";
  const Json options = task.generator.is_null() ? Json::object() : task.generator;
  if (task.source.generated == "drills") {
    DrillOptions drill;
    from_json(drill, options, where);
    return drills(drill, where);
  }
  if (task.source.generated == "needles") {
    NeedleOptions needle;
    from_json(needle, options, where);
    return needles(needle, where);
  }
  if (task.source.generated == "haystack") return haystack(options, where);
  fail(ErrorCode::kInvalidArgument,
       "task {}: source: generated: '{}' is none of drills, needles, haystack", task.name,
       task.source.generated);
}

void add_generated_graders(GraderTable& table) {
  table["drill"] = without_options<DrillGrader>();
  table["needles"] = without_options<NeedleGrader>();
}

}  // namespace dure
