// Answers that must have a form, asked of a whole server on a tiny model of random weights: each
// API's fields, whole and streamed, several choices, behind reasoning; what is refused, and where.
#include <gtest/gtest.h>

#include "server/server_fixture.h"

namespace dure {
namespace {

const char* const kPerson =
    R"({"type":"object","properties":{"n":{"type":"integer","minimum":0,"maximum":99},"name":{"type":"string","maxLength":6}},"required":["n","name"],"additionalProperties":false})";
// "parameters" and the like before it, "strict" and so on behind.
std::string weather(const char* schema_name = "parameters", const char* more = "") {
  return fmt::format(
      R"({{"name":"weather","{}":{{"type":"object","properties":{{"city":{{"type":"string","maxLength":5}}}},"required":["city"]}}{}}})",
      schema_name, more);
}
std::string chat_tool(const char* more = "") {
  return R"("tools":[{"type":"function","function":)" + weather("parameters", more) +
         R"(},{"type":"function","function":{"name":"now"}}])";
}

class AnswerForms : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = std::make_unique<TemporaryFolder>();
    testing_chat::write_tiny_model(folder_->path() / "model", testing_chat::tiny_texts());
    ModelTexts texts = testing_chat::tiny_texts();
    texts.chat_template = std::string(released_chat_template(ChatFormat::kK2));
    testing_chat::write_tiny_model(folder_->path() / "k2", texts);
  }
  static void TearDownTestSuite() { folder_.reset(); }
  static std::string model(const char* name = "model") { return (folder_->path() / name).string(); }
  // Without reasoning, which a random model does not end.
  static std::string chat(const std::string& more, int64_t seed = 1, bool thinking = false) {
    return fmt::format(
        R"({{"messages":[{{"role":"user","content":"the village"}}],"max_tokens":400,"seed":{},"enable_thinking":{},{}}})",
        seed, thinking, more);
  }
  static Json ask(const TestServer& server, const char* path, const std::string& body) {
    const HttpAnswer answer = server.post(path, body);
    EXPECT_EQ(answer.status, 200) << body << answer.body;
    return answer.status == 200 ? answer.json() : Json();
  }
  static Json first_choice(const TestServer& server, const std::string& body) {
    return ask(server, "/v1/chat/completions", body).at("choices").at(size_t{0});
  }
  static std::string content(const TestServer& server, const std::string& body) {
    const Json choice = first_choice(server, body);
    EXPECT_EQ(choice.at("finish_reason").as_string(), "stop") << choice.dump();
    return choice.at("message").at("content").as_string();
  }
  static void expect_person(const std::string& text) {
    const Json person = parse_json(text, "answer");
    EXPECT_EQ(person.size(), 2u);
    EXPECT_LE(person.at("n").as_int(), 99);
    EXPECT_TRUE(person.at("name").is_string());
  }
  static Json error(const TestServer& server, const char* path, const std::string& body) {
    const HttpAnswer answer = server.post(path, body);
    EXPECT_EQ(answer.status, 400) << body << answer.body;
    return answer.json().at("error");
  }

  inline static std::unique_ptr<TemporaryFolder> folder_;
};

TEST_F(AnswerForms, ChatsGiveWhatWasAskedFor) {
  TestServer server(model(), {});
  const std::string schema = std::string(R"({"type":"json_schema","json_schema":{"name":"p",)") +
                             R"("strict":true,"schema":)" + kPerson + "}}";
  for (int64_t seed = 0; seed < 5; ++seed) {
    expect_person(content(server, chat(R"("response_format":)" + schema, seed)));
    expect_person(content(server, chat(std::string(R"("guided_json":)") + kPerson, seed)));
    expect_person(content(server, chat(std::string(R"("json_schema":)") + kPerson, seed)));
    const std::string digits =
        content(server, chat(R"("structured_outputs":{"regex":"[0-9]{3}-[0-9]{2}"})", seed));
    ASSERT_EQ(digits.size(), 6u) << digits;
    EXPECT_EQ(digits[3], '-');
    const std::string choice =
        content(server, chat(R"("structured_outputs":{"choice":["yes","no","마을"]})", seed));
    EXPECT_TRUE(choice == "yes" || choice == "no" || choice == "마을") << choice;
  }
  EXPECT_EQ(content(server, chat(R"("response_format":{"type":"text"},"guided_choice":["x"])")),
            "x");
}

TEST_F(AnswerForms, EachChoiceHasAMaskOfItsOwnAndStreamsAlike) {
  TestServer server(model(), {});
  const std::string asked = std::string(R"("n":4,"temperature":1.5,"guided_json":)") + kPerson;
  const Json whole = ask(server, "/v1/chat/completions", chat(asked));
  ASSERT_EQ(whole.at("choices").size(), 4u);
  std::vector<std::string> said(4);
  const HttpAnswer stream = server.post("/v1/chat/completions", chat(asked + R"(,"stream":true)"));
  for (const Json& event : events_of(stream.body)) {
    if (event.is_string() || event.at("choices").size() == 0) continue;
    const Json& choice = event.at("choices").at(size_t{0});
    if (const Json* text = choice.at("delta").find("content"))
      said[static_cast<size_t>(choice.at("index").as_int())] += text->as_string();
  }
  for (size_t i = 0; i < 4; ++i) {
    const std::string& text = whole.at("choices").at(i).at("message").at("content").as_string();
    expect_person(text);
    EXPECT_EQ(said[i], text);
  }
}

// Reasoning is free, its end brought on by a bias; the form holds behind it.
TEST_F(AnswerForms, TheFormHoldsBehindTheReasoning) {
  TestServer server(model(), {});
  const auto end = server.model().texts.require_tokenizer().encode("</think>");
  ASSERT_EQ(end.size(), 1u);
  const std::string bias = fmt::format(R"("logit_bias":{{"{}":8}},)", end[0]);
  for (const char* more : {"", R"("reasoning_format":"none",)"}) {
    const Json choice =
        first_choice(server, chat(bias + more + R"("guided_choice":["the village"])", 3, true));
    EXPECT_EQ(choice.at("finish_reason").as_string(), "stop") << choice.dump();
    const std::string& text = choice.at("message").at("content").as_string();
    EXPECT_TRUE(text.ends_with("the village")) << text;
    if (*more == '\0') {
      EXPECT_EQ(text, "the village");
    }
  }
}

TEST_F(AnswerForms, ForcedToolsAreCalled) {
  TestServer server(model(), {});
  const char* const kNamed = R"({"type":"function","function":{"name":"weather"}})";
  for (int64_t seed = 0; seed < 4; ++seed) {
    const Json named =
        first_choice(server, chat(chat_tool() + R"(,"tool_choice":)" + kNamed, seed));
    const Json& calls = named.at("message").at("tool_calls");
    ASSERT_EQ(calls.size(), 1u) << named.dump();
    const Json& function = calls.at(size_t{0}).at("function");
    EXPECT_EQ(function.at("name").as_string(), "weather");
    EXPECT_TRUE(parse_json(function.at("arguments").as_string(), "call").at("city").is_string());
    EXPECT_EQ(named.at("finish_reason").as_string(), "stop");
    const Json any = first_choice(
        server,
        chat(chat_tool() + R"(,"tool_choice":"required","parallel_tool_calls":false)", seed));
    EXPECT_EQ(any.at("message").at("tool_calls").size(), 1u) << any.dump();
    EXPECT_EQ(any.at("finish_reason").as_string(), "tool_calls");
  }
  // A form of the text beside tools that may be called: the text, and what looks like a call too.
  EXPECT_EQ(
      content(
          server,
          chat(
              chat_tool() +
              R"(,"guided_choice":["<tool_call>{\"name\": \"now\", \"arguments\": {}}</tool_call>"])")),
      R"(<tool_call>{"name": "now", "arguments": {}}</tool_call>)");
}

TEST_F(AnswerForms, TheOtherApisHaveThemInTheirOwnWords) {
  TestServer server(model(), {});
  const Json completion = ask(
      server, "/v1/completions",
      R"({"prompt":["the","village"],"n":2,"max_tokens":50,"seed":1,"guided_regex":"[0-9]{4}"})");
  ASSERT_EQ(completion.at("choices").size(), 4u);
  for (const Json& choice : completion.at("choices").as_array())
    EXPECT_EQ(choice.at("text").as_string().size(), 4u) << choice.dump();

  const std::string input =
      R"({"input":"the village","max_output_tokens":400,"seed":1,"reasoning":{"effort":"none"},)";
  const Json text = ask(
      server, "/v1/responses",
      input + R"("text":{"format":{"type":"json_schema","name":"p","schema":)" + kPerson + "}}}");
  expect_person(text.at("output").at(size_t{0}).at("content").at(size_t{0}).at("text").as_string());
  std::string flat = weather();
  flat.insert(1, R"("type":"function",)");
  for (const char* choice : {R"("required")", R"({"type":"function","name":"weather"})"}) {
    const Json call = ask(server, "/v1/responses",
                          input + R"("tools":[)" + flat + R"(],"tool_choice":)" + choice + "}");
    EXPECT_EQ(call.at("output").at(size_t{0}).at("type").as_string(), "function_call");
    EXPECT_EQ(call.at("output").at(size_t{0}).at("name").as_string(), "weather");
  }

  const std::string message =
      R"({"messages":[{"role":"user","content":"the village"}],"max_tokens":400,"seed":1,"thinking":{"type":"disabled"},)";
  for (const char* choice : {R"({"type":"any"})", R"({"type":"tool","name":"weather"})"}) {
    const Json used = ask(
        server, "/v1/messages",
        message + R"("tools":[)" + weather("input_schema") + R"(],"tool_choice":)" + choice + "}");
    EXPECT_EQ(used.at("stop_reason").as_string(), "tool_use") << used.dump();
    EXPECT_EQ(used.at("content").at(size_t{0}).at("name").as_string(), "weather");
  }
  const Json person = ask(
      server, "/v1/messages",
      message + R"("output_config":{"format":{"type":"json_schema","schema":)" + kPerson + "}}}");
  expect_person(person.at("content").at(size_t{0}).at("text").as_string());
}

TEST_F(AnswerForms, WhatCannotBeHeldIsRefusedWithItsPlace) {
  TestServer server(model(), {});
  const auto expect = [&](const char* path, const std::string& body, const char* param,
                          const char* place) {
    const Json found = error(server, path, body);
    EXPECT_EQ(found.at("param").as_string(), param) << found.dump();
    EXPECT_NE(found.at("message").as_string().find(place), std::string::npos) << found.dump();
  };
  const char* const kChat = "/v1/chat/completions";
  const std::string unique =
      R"({"type":"object","properties":{"a":{"type":"array","uniqueItems":true}}})";
  expect(kChat,
         chat(R"("response_format":{"type":"json_schema","json_schema":{"name":"x","schema":)" +
              unique + "}}"),
         "response_format.json_schema.schema", "#/properties/a/uniqueItems");
  EXPECT_EQ(error(server, kChat, chat(R"("guided_json":)" + unique)).at("code").as_string(),
            "unsupported_parameter");
  expect("/v1/responses",
         R"({"input":"x","text":{"format":{"type":"json_schema","schema":)" + unique + "}}}",
         "text.format.schema", "#/properties/a/uniqueItems");
  expect("/v1/responses", R"({"input":"x","text":{"format":{"type":"xml"}}})", "text.format.type",
         "xml");
  expect("/v1/completions", R"j({"prompt":"x","regex":"a(?=b)"})j", "regex", "regex: ");
  expect(
      kChat,
      chat(
          R"("tool_choice":"required","tools":[{"function":{"name":"f","strict":true,"parameters":)" +
          unique + "}}]"),
      "tools", "tool f: #/properties/a/uniqueItems");
  expect(
      "/v1/responses",
      R"({"input":"x","tools":[{"type":"function","name":"f"}],"tool_choice":{"type":"function","name":"g"}})",
      "tool_choice", "'g'");
  const HttpAnswer anthropic = server.post(
      "/v1/messages",
      R"({"messages":[{"role":"user","content":"x"}],"max_tokens":5,"tool_choice":{"type":"any"}})");
  EXPECT_EQ(anthropic.status, 400);
  // Others go on.
  EXPECT_EQ(content(server, chat(R"("guided_choice":["yes"])")), "yes");
}

// Without `strict` a call is what the model writes; with it, once it is opened, it is held.
TEST_F(AnswerForms, StrictToolsAreHeldOnceACallIsOpened) {
  TestServer server(model(), {});
  const auto open = server.model().texts.require_tokenizer().encode("<tool_call>");
  ASSERT_EQ(open.size(), 1u);
  const std::string bias = fmt::format(R"(,"logit_bias":{{"{}":15}})", open[0]);
  const Json choice = first_choice(
      server, chat(chat_tool(R"(,"strict":true)") + bias + R"(,"parallel_tool_calls":false)", 2));
  EXPECT_EQ(choice.at("finish_reason").as_string(), "tool_calls") << choice.dump();
  EXPECT_GE(choice.at("message").at("tool_calls").size(), 1u);
}

// Calls in tags: what is forced is read back as the schema says, text as text, all else as JSON.
TEST_F(AnswerForms, CallsInTagsAreForcedAndRead) {
  TestServer server(model("k2"), {});
  const std::string tools =
      R"("tools":[{"type":"function","function":{"name":"f","strict":true,"parameters":{"type":"object","properties":{)"
      R"("city":{"type":"string","maxLength":6},"unit":{"type":"string","enum":["C","F"]},"n":{"type":"integer","minimum":3,"maximum":12},)"
      R"("when":{"anyOf":[{"type":"string","pattern":"^\\d\\d:\\d\\d$"},{"type":"null"}]},)"
      R"("tags":{"type":"array","items":{"type":"string","maxLength":4},"maxItems":2}},)"
      R"("required":["city","n","when","tags"]}}}],"parallel_tool_calls":false,)";
  for (int64_t seed = 0; seed < 6; ++seed) {
    for (const char* choice : {R"("required")", R"({"type":"function","function":{"name":"f"}})"}) {
      const Json got =
          first_choice(server, chat(tools + R"("tool_choice":)" + std::string(choice), seed));
      const Json& calls = got.at("message").at("tool_calls");
      ASSERT_EQ(calls.size(), 1u) << got.dump();
      const Json& function = calls.at(size_t{0}).at("function");
      EXPECT_EQ(function.at("name").as_string(), "f");
      const Json given = parse_json(function.at("arguments").as_string(), "call");
      EXPECT_TRUE(given.at("city").is_string()) << given.dump();
      EXPECT_GE(given.at("n").as_int(), 3);
      EXPECT_LE(given.at("n").as_int(), 12);
      const Json& when = given.at("when");
      EXPECT_TRUE(when.is_null() || (when.is_string() && when.as_string().size() == 5))
          << when.dump();
      ASSERT_TRUE(given.at("tags").is_array()) << given.dump();
      EXPECT_LE(given.at("tags").size(), 2u);
      if (const Json* unit = given.find("unit")) {
        EXPECT_TRUE(*unit == Json("C") || *unit == Json("F"));
      }
    }
  }
  // Tools of which nothing is known but their names, and none that is held.
  const Json any = first_choice(
      server, chat(chat_tool() + R"(,"tool_choice":"required","parallel_tool_calls":false)"));
  EXPECT_EQ(any.at("message").at("tool_calls").size(), 1u) << any.dump();
  const Json refused = error(
      server, "/v1/chat/completions",
      chat(
          R"("tool_choice":"required","tools":[{"function":{"name":"f","strict":true,"parameters":{"properties":{"a":{"type":"string"}},"required":["b"]}}}])"));
  EXPECT_EQ(refused.at("param").as_string(), "tools") << refused.dump();
  expect_person(content(server, chat(std::string(R"("guided_json":)") + kPerson)));
}

}  // namespace
}  // namespace dure
