// Marks such as <tool_call> are one special token in some vocabularies and text in others: both are
// taken (token_trie.h).
#include "grammar/answer_form.h"

#include <memory>

#include "base/error.h"
#include "grammar/tagged_call.h"
#include "grammar/token_trie.h"

namespace dure {
namespace {

constexpr std::string_view kThinkEnd = "</think>", kCallBegin = "<tool_call>",
                           kCallEnd = "</tool_call>";

void add_any_byte(ByteNfa& nfa, ByteNfa::Node node) {
  nfa.add_bytes(node, 0x00, static_cast<uint8_t>(kSpecialMark) - 1, node);
}

// Any text up to and with the first `mark`, as text or as a special token.
ByteDfa until(std::string_view mark) {
  ByteNfa nfa;
  const ByteNfa::Node begin = nfa.add_node();
  const ByteNfa::Node end = nfa.add_node();
  add_any_byte(nfa, begin);
  nfa.add_skip(nfa.add_text(begin, mark), end);
  nfa.add_skip(nfa.add_text(begin, kSpecialMark + std::string(mark)), end);
  return shortest(nfa.determinise(begin, end));
}

// Any text that does not hold `mark`.
ByteDfa without(std::string_view mark) {
  ByteNfa any, holding;
  const ByteNfa::Node all = any.add_node();
  add_any_byte(any, all);
  const ByteNfa::Node begin = holding.add_node();
  add_any_byte(holding, begin);
  const ByteNfa::Node end = holding.add_text(begin, mark);
  add_any_byte(holding, end);
  return difference(any.determinise(all, all), holding.determinise(begin, end));
}

class AnswerBuilder {
 public:
  explicit AnswerBuilder(const AnswerForm& form) : form_(form), json_(builder_, form.spacing) {}

  AnswerGrammar build() {
    RuleId rule = content();
    if (form_.after_reasoning)
      rule = builder_.sequence(
          {builder_.terminal(until(kThinkEnd)), builder_.pattern("\n{0,2}"), rule});
    return {builder_.build(rule), std::move(not_held_)};
  }

 private:
  RuleId content() {
    switch (form_.kind) {
      case AnswerKind::kPattern:
        return builder_.pattern(form_.pattern);
      case AnswerKind::kChoice:
        return choices();
      case AnswerKind::kJsonObject:
        return json_.object();
      case AnswerKind::kJsonSchema:
        return schema(form_.schema);
      case AnswerKind::kToolCalls:
        return tool_calls();
    }
    return 0;
  }

  RuleId choices() {
    if (form_.choices.empty()) fail(ErrorCode::kInvalidArgument, "a choice of no texts");
    ByteNfa nfa;
    const ByteNfa::Node begin = nfa.add_node();
    const ByteNfa::Node end = nfa.add_node();
    for (const std::string& text : form_.choices) nfa.add_skip(nfa.add_text(begin, text), end);
    return builder_.terminal(nfa.determinise(begin, end));
  }

  RuleId schema(const Json& schema) {
    const JsonSchemaRule made = add_json_schema(json_, schema, form_.schema_options);
    not_held_.insert(made.ignored.begin(), made.ignored.end());
    return made.rule;
  }

  RuleId mark(std::string_view text) {
    return builder_.choice(
        {builder_.literal(text), builder_.literal(kSpecialMark + std::string(text))});
  }

  // <tool_call>{"name": ..., "arguments": ...}</tool_call>, calls a line apart.
  RuleId tool_calls() {
    const RuleId body = call_body();
    const RuleId call = builder_.sequence({mark(kCallBegin), body});
    const RuleId next = builder_.sequence({builder_.pattern("\n{0,2}"), call});
    const RuleId more = form_.several_calls ? builder_.any_number(next) : builder_.literal("");
    if (form_.tool_use == ToolUse::kMust) return builder_.sequence({call, more});
    const RuleId text = builder_.terminal(without(kCallBegin));
    const RuleId opened = builder_.terminal(until(kCallBegin));
    return builder_.choice({text, builder_.sequence({opened, body, more})});
  }

  // Behind the opening mark, the closing one included.
  RuleId call_body() {
    const bool tags = form_.call_format == ChatFormat::kK2;
    std::vector<RuleId> calls;
    for (const Json& tool : form_.tools.is_array() ? form_.tools.as_array() : Json::Array()) {
      const Json* wrapped = tool.find("function");
      const Json& function = wrapped != nullptr ? *wrapped : tool;
      const Json* name = function.find("name");
      if (name == nullptr || !name->is_string()) continue;  // Another kind of tool.
      if (!form_.tool_name.empty() && name->as_string() != form_.tool_name) continue;
      calls.push_back(tags ? tagged_call(name->as_string(), function)
                           : call_of(name->as_string(), function));
    }
    if (calls.empty()) {
      fail(ErrorCode::kInvalidArgument, "tool_choice: {}",
           form_.tool_name.empty() ? "there are no tools"
                                   : fmt::format("no tool is named '{}'", form_.tool_name));
    }
    const RuleId space = tags ? builder_.literal("\n") : builder_.pattern("\n?");
    return builder_.sequence({space, builder_.choice(std::move(calls)), space, mark(kCallEnd)});
  }
  // <function=NAME>, a tag for each parameter, </function>.
  RuleId tagged_call(const std::string& name, const Json& function) {
    if (name.find_first_of("<>\n") != std::string::npos)
      fail(ErrorCode::kUnsupported, "tool {}: a name that no tag can hold", name);
    return builder_.sequence({builder_.literal("<function=" + name + ">\n"),
                              tagged_arguments(name, function), builder_.literal("</function>")});
  }
  RuleId tagged_arguments(const std::string& name, const Json& function) {
    const Json* parameters = function.find("parameters");
    if (parameters == nullptr || parameters->is_null()) return builder_.literal("");
    return held_or_any(
        name, function,
        [&](GrammarBuilder& builder) {
          const TaggedArguments made =
              add_tagged_arguments(builder, form_.spacing, *parameters, form_.schema_options);
          not_held_.insert(made.ignored.begin(), made.ignored.end());
          return made.rule;
        },
        [&] { return add_any_tagged_arguments(builder_); });
  }

  RuleId call_of(const std::string& name, const Json& function) {
    return builder_.sequence({json_.open('{'), json_.key("name"), json_.colon(), json_.key(name),
                              json_.comma(), json_.key("arguments"), json_.colon(),
                              arguments(name, function), json_.close('}')});
  }
  RuleId arguments(const std::string& name, const Json& function) {
    const Json* parameters = function.find("parameters");
    if (parameters == nullptr || parameters->is_null())
      return builder_.sequence({json_.open('{'), json_.close('}')});
    // Arguments are an object, whether or not the schema says so.
    documents_.push_back(std::make_unique<Json>(*parameters));
    Json& document = *documents_.back();
    if (document.is_object() && !document.contains("type")) document["type"] = "object";
    return held_or_any(
        name, function,
        [&](GrammarBuilder& builder) {
          JsonGrammar json(builder, form_.spacing);
          const JsonSchemaRule made = add_json_schema(json, document, form_.schema_options);
          not_held_.insert(made.ignored.begin(), made.ignored.end());
          return made.rule;
        },
        [&] { return json_.object(); });
  }

  // Arguments held to their schema; of a tool that does not insist on it, any where they cannot be.
  template <typename Held, typename Any>
  RuleId held_or_any(const std::string& name, const Json& function, const Held& held,
                     const Any& any) {
    const Json* strict = function.find("strict");
    const bool must = strict != nullptr && strict->is_bool() && strict->as_bool();
    try {
      // Apart first: a rule that can match nothing is seen only when a grammar is built.
      GrammarBuilder apart;
      apart.build(held(apart));
      return held(builder_);
    } catch (const Error& e) {
      const std::string what = fmt::format("tool {}: {}", name, e.what());
      if (must) throw Error(e.code(), what);
      not_held_.insert(what);
      return any();
    }
  }

  const AnswerForm& form_;
  GrammarBuilder builder_;
  JsonGrammar json_;
  std::vector<std::unique_ptr<Json>> documents_;
  std::set<std::string> not_held_;
};

}  // namespace

std::string AnswerForm::key() const {
  Json out = Json::object();
  out["kind"] = static_cast<int>(kind);
  out["pattern"] = pattern;
  out["choices"] = Json::array_of(choices);
  out["schema"] = schema;
  out["tools"] = kind == AnswerKind::kToolCalls ? tools : Json();
  out["use"] = static_cast<int>(tool_use);
  out["name"] = tool_name;
  out["several"] = several_calls;
  out["format"] = static_cast<int>(call_format);
  out["reasoning"] = after_reasoning;
  out["spacing"] = static_cast<int>(spacing);
  out["unlisted"] = static_cast<int>(schema_options.unlisted);
  return out.dump();
}

AnswerGrammar answer_grammar(const AnswerForm& form) { return AnswerBuilder(form).build(); }

}  // namespace dure
