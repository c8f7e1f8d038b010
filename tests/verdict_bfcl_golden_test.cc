// BFCL's possible answers match themselves, as tool calls and as text; answers that were changed do
// not; no call is right where none is wanted.
#include "base/error.h"
#include "base/file.h"
#include "base/python_text.h"
#include "grade/function_call.h"
#include "verdict_programs.h"
#include "verdicts.h"

namespace dure {
namespace {

constexpr const char* kCategories[] = {"simple_python", "multiple", "parallel", "live_simple"};

std::vector<Item> items_of(const std::string& category) {
  const std::string name = "BFCL_v4_" + category + ".json";
  const auto questions = verdicts::companion("bfcl/" + name);
  const auto answers = verdicts::file("bfcl/possible_answer/" + name);
  std::vector<Item> items;
  if (!questions || !answers) return items;
  const std::vector<Json> rows = verdicts::rows_of(*questions), truth = verdicts::rows_of(*answers);
  for (size_t i = 0; i < rows.size(); ++i) {
    Json reference = Json::object();
    reference["function"] = rows[i].at("function");
    reference["ground_truth"] = truth.at(i).at("ground_truth");
    EXPECT_EQ(rows[i].at("id"), truth[i].at("id"));
    items.push_back({.id = rows[i].at("id").as_string(), .reference = std::move(reference)});
  }
  return items;
}

// A value that is right: the first that is none left out. Dictionaries name values for each key.
Json right_value(const Json& values);
Json right_of(const Json& value) {
  if (value.is_array()) {
    Json out = Json::array();
    for (const Json& item : value.as_array()) out.push_back(right_of(item));
    return out;
  }
  if (!value.is_object()) return value;
  Json out = Json::object();
  for (const auto& [key, values] : value.as_object())
    if (values.as_array().empty() || values.at(0) != Json(""))
      out[key] = values.as_array().empty() ? Json(nullptr) : values.at(0);
  return out;
}
Json right_value(const Json& values) {
  for (const Json& value : values.as_array())
    if (value != Json("")) return right_of(value);
  return "";
}

std::vector<ToolCall> right_calls(const Item& item) {
  std::vector<ToolCall> calls;
  for (const Json& wanted : item.reference.at("ground_truth").as_array()) {
    const auto& [name, parameters] = wanted.as_object().at(0);
    ToolCall call{.name = name, .arguments = Json::object()};
    for (const auto& [parameter, values] : parameters.as_object())
      if (const Json value = right_value(values); value != Json(""))
        call.arguments[parameter] = value;
    calls.push_back(std::move(call));
  }
  return calls;
}

// As Python writes it.
std::string repr(const Json& value) {
  if (value.is_null()) return "None";
  if (value.is_bool()) return value.as_bool() ? "True" : "False";
  if (value.is_string()) return json_quote(value.as_string());
  if (value.is_int()) return std::to_string(value.as_int());
  if (value.is_number()) return python_float(value.as_double());
  std::string out;
  if (value.is_array()) {
    for (const Json& item : value.as_array()) out += repr(item) + ", ";
    return "[" + out + "]";
  }
  for (const auto& [key, item] : value.as_object())
    out += json_quote(key) + ": " + repr(item) + ", ";
  return "{" + out + "}";
}

std::string text_of(const std::vector<ToolCall>& calls) {
  std::string out;
  for (const ToolCall& call : calls) {
    out += (out.empty() ? "" : ", ") + call.name + "(";
    for (const auto& [name, value] : call.arguments.as_object())
      out += name + "=" + repr(value) + ",";
    out += ")";
  }
  return "[" + out + "]";
}

std::unique_ptr<Grader> grader() {
  return make_grader(standard_graders(), "function_call", {}, "test");
}

// Rows that list no value at all for a parameter that is required: nothing can match them.
bool can_be_matched(const Item& item) {
  for (const Json& wanted : item.reference.at("ground_truth").as_array())
    for (const auto& [name, values] : wanted.as_object().at(0).second.as_object())
      if (values.size() == 0) return false;
  return true;
}

// Its first right call takes Apple too, and the published matching never takes a call back: it
// depends on the order of this row's calls.
constexpr const char* kOrderMatters = "parallel_178";

TEST(Bfcl, RightCallsMatchThemselves) {
  for (const char* category : kCategories) {
    int right = 0, right_text = 0;
    const std::vector<Item> items = items_of(category);
    for (const Item& item : items) {
      grader()->check(item);
      if (!can_be_matched(item)) {
        std::printf("%s: a parameter without right values\n", item.id.c_str());
        EXPECT_EQ(grader()->grade(item, {.tool_calls = right_calls(item)}).score, 0.0);
        continue;
      }
      std::vector<ToolCall> calls = right_calls(item);
      const Grade text = grader()->grade(item, {.content = text_of(calls)});
      right_text += text.score == 1.0 ? 1 : 0;
      EXPECT_EQ(text.score, 1.0) << item.id << ": " << text.reason << "\n" << text_of(calls);
      // Parallel calls have no order.
      if (item.id != kOrderMatters) std::reverse(calls.begin(), calls.end());
      const Grade grade = grader()->grade(item, {.tool_calls = calls});
      right += grade.score == 1.0 ? 1 : 0;
      EXPECT_EQ(grade.score, 1.0) << item.id << ": " << grade.reason << "\n" << text_of(calls);
    }
    std::printf("BFCL %s: %d as calls and %d as text of %zu match\n", category, right, right_text,
                items.size());
  }
}

// Values that no possible answer holds.
Json spoilt(const Json& value) {
  if (value.is_string()) return value.as_string() + " spoilt";
  if (value.is_bool()) return value.as_bool() ? "yes" : "no";
  if (value.is_int()) return value.as_int() + 7919;
  if (value.is_number()) return value.as_double() + 7919.5;
  if (value.is_null()) return "spoilt";
  if (value.is_array()) {
    Json out = value;
    out.push_back("spoilt");
    return out;
  }
  Json out = value;
  out["spoilt"] = 1;
  return out;
}

TEST(Bfcl, ChangedCallsDoNot) {
  int tried = 0, caught = 0;
  const auto expect_wrong = [&](const Item& item, const std::vector<ToolCall>& calls) {
    const Grade grade = grader()->grade(item, {.tool_calls = calls});
    ++tried;
    caught += grade.score == 0.0 ? 1 : 0;
    EXPECT_EQ(grade.score, 0.0) << item.id << "\n" << text_of(calls);
  };
  for (const char* category : kCategories) {
    for (const Item& item : items_of(category)) {
      const std::vector<ToolCall> right = right_calls(item);
      std::vector<ToolCall> calls = right;
      calls.push_back(right[0]);
      expect_wrong(item, calls);
      calls = right;
      calls[0].name += "_spoilt";
      expect_wrong(item, calls);
      calls = right;
      calls[0].arguments["spoilt"] = 1;
      expect_wrong(item, calls);
      for (const auto& [name, value] : right[0].arguments.as_object()) {
        calls = right;
        calls[0].arguments[name] = spoilt(value);
        expect_wrong(item, calls);
      }
      EXPECT_EQ(grader()->grade(item, {.content = "I would call nothing."}).score, 0.0);
      EXPECT_EQ(grader()->grade(item, {}).score, 0.0);
    }
  }
  std::printf("BFCL: %d of %d changed calls are found\n", caught, tried);
}

TEST(Bfcl, Irrelevance) {
  const auto path = verdicts::companion("bfcl/BFCL_v4_irrelevance.json");
  if (!path) return;
  size_t right = 0;
  const std::vector<Json> rows = verdicts::rows_of(*path);
  for (const Json& row : rows) {
    Json reference = Json::object();
    reference["category"] = "irrelevance";
    const Item item{.id = row.at("id").as_string(), .reference = reference};
    grader()->check(item);
    const std::string name = row.at("function").at(size_t{0}).at("name").as_string();
    const bool all =
        grader()->grade(item, {.content = "None of these functions helps."}).score == 1.0 &&
        grader()->grade(item, {.content = ""}).score == 1.0 &&
        grader()->grade(item, {.content = "[]"}).score == 1.0 &&
        grader()->grade(item, {.content = "[" + name + "(a=1)]"}).score == 0.0 &&
        grader()->grade(item, {.tool_calls = {{.name = name}}}).score == 0.0;
    right += all ? 1 : 0;
  }
  std::printf("BFCL irrelevance: %zu of %zu\n", right, rows.size());
  EXPECT_EQ(right, rows.size());
}

}  // namespace
}  // namespace dure
