// The code of an answer, put together with an item's tests, and the verdict in words.
#include "grade/code.h"

#include "base/error.h"
#include "base/python_text.h"
#include "grade/code_runner.h"
#include "grade/code_text.h"
#include "sandbox/sandboxed_program.h"

namespace dure {
namespace {

// Until what marks its end in prompts with examples (Austin et al. 2021, 2108.07732).
std::string_view until_done(std::string_view text) { return text.substr(0, text.find("[DONE]")); }

bool begins_indented(std::string_view text) {
  const size_t first = text.find_first_not_of("\r\n");
  return first != std::string_view::npos && (text[first] == ' ' || text[first] == '\t');
}

std::vector<std::string> texts_of(const Json& list, const std::string& where) {
  std::vector<std::string> texts;
  for (const Json& text : list.as_array(where)) texts.push_back(text.as_string(where));
  return texts;
}

struct Verdict {
  size_t passed = 0, tests = 0;
  std::string failure;  // of the first test that failed
};

Grade grade_of(const Verdict& verdict, std::string code) {
  Grade grade = verdict.failure.empty() ? Grade::right(std::move(code))
                                        : Grade::wrong(std::move(code), verdict.failure);
  grade.parts = Json::object();
  grade.parts["passed"] = static_cast<int64_t>(verdict.passed);
  grade.parts["tests"] = static_cast<int64_t>(verdict.tests);
  grade.parts["fraction"] =
      static_cast<double>(verdict.passed) / static_cast<double>(std::max<size_t>(verdict.tests, 1));
  return grade;
}

class CodeGrader : public Grader {
 public:
  explicit CodeGrader(CodeOptions options) : options_(std::move(options)) {}

  Grade grade(const Item& item, const Answer& answer) const override {
    std::string code = code_of_answer(answer.content, options_);
    if (python_strip(code).empty()) return Grade::wrong("", "there is no code in the answer");
    const Verdict verdict = judge(item, code);
    return grade_of(verdict, std::move(code));
  }

  void check(const Item& item) const override {
    if (const auto& missing = sandbox_missing()) fail(ErrorCode::kUnsupported, "{}", *missing);
    const std::string where = place(item);
    if (options_.mode == CodeMode::kCompletion) {
      for (const char* field : {"prompt", "test", "entry_point"}) text(item, field);
    } else if (options_.mode == CodeMode::kAsserts) {
      if (texts(item, "test_list").empty())
        fail(ErrorCode::kInvalidArgument, "{}: test_list: is empty", where);
    } else if (texts(item, "inputs").size() != texts(item, "outputs").size() ||
               texts(item, "inputs").empty()) {
      fail(ErrorCode::kInvalidArgument, "{}: as many inputs as outputs are needed, at least one",
           where);
    }
  }

 private:
  static std::string place(const Item& item) { return "item " + item.id + ": reference"; }
  static const Json& field(const Item& item, const char* name) {
    const Json* value = item.reference.find(name);
    if (value == nullptr)
      fail(ErrorCode::kInvalidArgument, "{}: '{}' is missing", place(item), name);
    return *value;
  }
  static const std::string& text(const Item& item, const char* name) {
    return field(item, name).as_string(place(item) + ": " + name);
  }
  static std::vector<std::string> texts(const Item& item, const char* name) {
    return texts_of(field(item, name), place(item) + ": " + name);
  }

  CodeLimits limits(const Item& item) const {
    double seconds = item.limits.seconds_max > 0 ? item.limits.seconds_max : options_.seconds;
    if (seconds <= 0) {
      seconds = options_.mode == CodeMode::kCompletion ? 3
                : options_.mode == CodeMode::kAsserts  ? 10
                                                       : 6;
    }
    return {.seconds = seconds,
            .memory_bytes_max = options_.memory_mb << 20,
            .python = options_.python};
  }

  Verdict judge(const Item& item, const std::string& code) const {
    if (options_.mode == CodeMode::kCompletion) return judge_completion(item, code);
    if (options_.mode == CodeMode::kAsserts) return judge_asserts(item, code);
    return item.reference.contains("fn_name") ? judge_function(item, code)
                                              : judge_stdio(item, code);
  }

  static Verdict judge_tests(const std::vector<std::string>& tests,
                             const std::vector<CodeRun>& runs) {
    Verdict verdict{.tests = tests.size()};
    for (size_t i = 0; i < runs.size(); ++i) {
      if (runs[i].passed) {
        ++verdict.passed;
      } else if (verdict.failure.empty()) {
        verdict.failure = fmt::format("test {} of {}: {}: {}", i + 1, tests.size(),
                                      cut_short(tests[i]), cut_short(runs[i].error));
      }
    }
    return verdict;
  }

  Verdict judge_completion(const Item& item, const std::string& code) const {
    const std::vector<std::string> tests = {"check(" + text(item, "entry_point") + ")"};
    // A whole function that stands for the prompt's own begins a line of its own.
    const bool whole = !begins_indented(code) && !text(item, "prompt").ends_with('\n');
    const std::string program = text(item, "prompt") + (whole ? "\n" : "") + code + "\n";
    return judge_tests(tests, run_asserts(program, text(item, "test"), tests, limits(item)));
  }

  Verdict judge_asserts(const Item& item, const std::string& code) const {
    const std::vector<std::string> tests = texts(item, "test_list");
    const Json* setup = item.reference.find("test_setup_code");
    const std::string program =
        code + "\n" + (setup == nullptr ? "" : setup->as_string(place(item))) + "\n";
    return judge_tests(tests, run_asserts(program, "", tests, limits(item)));
  }

  // What is there to say of one test: why it is wrong, with its data cut short.
  static std::string failure(size_t index, size_t count, const std::string& input,
                             const std::string& expected, const std::string& got,
                             const std::string& why) {
    return fmt::format("test {} of {}: {}: input {}, expected {}, got {}", index + 1, count,
                       cut_short(why), json_quote(cut_short(input)),
                       json_quote(cut_short(expected)), json_quote(cut_short(got)));
  }

  Verdict judge_stdio(const Item& item, const std::string& code) const {
    const auto inputs = texts(item, "inputs"), outputs = texts(item, "outputs");
    Verdict verdict{.tests = inputs.size()};
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (!verdict.failure.empty() && !options_.every_test) break;
      const CodeRun run = run_script(code, inputs[i], limits(item));
      std::string why = run.error;
      if (run.passed && same_output(run.output, outputs[i], &why)) {
        ++verdict.passed;
      } else if (verdict.failure.empty()) {
        verdict.failure = failure(i, inputs.size(), inputs[i], outputs[i], run.output, why);
      }
    }
    return verdict;
  }

  Verdict judge_function(const Item& item, const std::string& code) const {
    const auto inputs = texts(item, "inputs"), outputs = texts(item, "outputs");
    const std::vector<CodeRun> runs =
        run_function(code, text(item, "fn_name"), inputs, limits(item),
                     options_.every_test ? AfterFailure::kGoOn : AfterFailure::kStop);
    Verdict verdict{.tests = inputs.size()};
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (!verdict.failure.empty() && !options_.every_test) break;
      const Json expected = parse_json(outputs[i], place(item) + ": outputs");
      if (runs[i].passed && same_value(runs[i].value, expected)) {
        ++verdict.passed;
      } else if (verdict.failure.empty()) {
        const std::string got = runs[i].passed ? runs[i].value.dump() : "";
        verdict.failure = failure(i, inputs.size(), inputs[i], outputs[i], got,
                                  runs[i].passed ? "it returned something else" : runs[i].error);
      }
    }
    return verdict;
  }

  CodeOptions options_;
};

}  // namespace

std::string code_of_answer(const std::string& content, const CodeOptions& options) {
  if (options.part == CodePart::kWhole) return content;
  if (options.part == CodePart::kContinuation) return std::string(continued_function(content));
  if (auto block = last_code_block(content)) return *block;
  if (options.part == CodePart::kBlock) return "";
  if (options.mode == CodeMode::kCompletion && begins_indented(content))
    return std::string(continued_function(content));
  return std::string(until_done(content));
}

void add_code_graders(GraderTable& table) {
  table["code"] = [](const Json& json, const GraderWorld&, const std::string& where) {
    CodeOptions options;
    if (!json.is_null()) from_json(options, json, where);
    return std::make_unique<CodeGrader>(std::move(options));
  };
}

}  // namespace dure
