// Details that clients lean on, asked of a whole server on a tiny model: calls in pieces, reasoning
// that ends in time, prefixes that belong to a key, answers that go on with what was begun; and
// every field of every endpoint with a value of a wrong kind.
#include <gtest/gtest.h>

#include <map>

#include "server/server_fixture.h"

namespace dure {
namespace {

class ApiDetails : public TinyModelTest {
 protected:
  static Json ask(const TestServer& server, const char* path, const std::string& body,
                  const std::string& headers = "") {
    const HttpAnswer answer = server.post(path, body, headers);
    EXPECT_EQ(answer.status, 200) << body << answer.body;
    return answer.status == 200 ? answer.json() : Json::object();
  }
  static Json error(const TestServer& server, const char* path, const std::string& body) {
    const HttpAnswer answer = server.post(path, body);
    EXPECT_EQ(answer.status, 400) << path << " " << body << answer.body;
    return answer.status == 400 ? answer.json().at("error") : Json::object();
  }
};

const char* const kTools =
    R"("enable_thinking":false,"tool_choice":"required","tools":[{"type":"function","function":{"name":"weather","parameters":{"type":"object","properties":{"city":{"type":"string","maxLength":40,"minLength":20}},"required":["city"]}}},{"type":"function","function":{"name":"now"}}])";

// allowed_tools leaves the others out of the prompt, and out of what is forced.
TEST_F(ApiDetails, ToolsThatMayBeCalled) {
  TestServer server(model(), {});
  const auto chosen = [](const std::string& choice) {
    std::string tools = kTools;
    const std::string forced = R"("tool_choice":"required")";
    return tools.replace(tools.find(forced), forced.size(), R"("tool_choice":)" + choice);
  };
  const std::string allowed =
      R"({"type":"allowed_tools","allowed_tools":{"mode":"required","tools":[{"type":"function","function":{"name":"now"}}]}})";
  const std::string body = R"({"messages":[{"role":"user","content":"x"}],"max_tokens":200,)";
  const std::string prompt =
      ask(server, "/apply-template", body + chosen(allowed) + "}").at("prompt").as_string();
  EXPECT_NE(prompt.find("now"), std::string::npos);
  EXPECT_EQ(prompt.find("weather"), std::string::npos);
  for (int seed = 0; seed < 4; ++seed) {
    const Json answer = ask(server, "/v1/chat/completions",
                            body + fmt::format("\"seed\":{},", seed) + chosen(allowed) + "}");
    const Json& message = answer.at("choices").at(size_t{0}).at("message");
    for (const Json& call : message.at("tool_calls").as_array())
      EXPECT_EQ(call.at("function").at("name").as_string(), "now");
  }
  const Json flat = ask(
      server, "/v1/responses",
      R"({"input":"x","max_output_tokens":200,"reasoning":{"effort":"none"},"tools":[{"type":"function","name":"weather"},{"type":"function","name":"now"}],"tool_choice":{"type":"allowed_tools","mode":"required","tools":[{"type":"function","name":"now"}]}})");
  for (const Json& item : flat.at("output").as_array()) {
    if (item.at("type") == Json("function_call")) EXPECT_EQ(item.at("name").as_string(), "now");
  }
}

TEST_F(ApiDetails, SlotsInLlamasForm) {
  TestServer server(model(), {.context_tokens = 512, .sequences_max = 3});
  const HttpAnswer idle = server.get("/slots?fail_on_no_slot=1");
  EXPECT_EQ(idle.status, 200);
  const Json slots = idle.json();
  ASSERT_EQ(slots.size(), 3U);
  for (int64_t i = 0; i < 3; ++i) {
    const Json& slot = slots.at(static_cast<size_t>(i));
    EXPECT_EQ(slot.at("id").as_int(), i);
    EXPECT_EQ(slot.at("n_ctx").as_int(), 512);
    EXPECT_FALSE(slot.at("is_processing").as_bool());
  }
  EXPECT_EQ(server.post("/slots", "{}").status, 405);
}

struct StreamedCall {
  std::string id, name, arguments;
  int pieces = 0;
};

// What OpenAI's clients put together, and that the pieces are what they expect.
std::map<int64_t, StreamedCall> calls_of(const std::string& body, std::string& finish) {
  std::map<int64_t, StreamedCall> out;
  for (const Json& event : events_of(body)) {
    if (event.is_string() || event.at("choices").size() == 0) continue;
    const Json& choice = event.at("choices").at(size_t{0});
    if (!choice.at("finish_reason").is_null()) finish = choice.at("finish_reason").as_string();
    const Json* calls = choice.at("delta").find("tool_calls");
    if (calls == nullptr) continue;
    EXPECT_EQ(calls->size(), 1u);
    const Json& piece = calls->at(size_t{0});
    const Json& function = piece.at("function");
    StreamedCall& call = out[piece.at("index").as_int()];
    if (call.pieces++ == 0) {
      EXPECT_EQ(piece.at("type").as_string(), "function");
      EXPECT_EQ(function.at("arguments").as_string(), "");
      call.id = piece.at("id").as_string();
      call.name = function.at("name").as_string();
    } else {
      EXPECT_FALSE(piece.contains("id") || piece.contains("type") || function.contains("name"));
      EXPECT_NE(function.at("arguments").as_string(), "");
    }
    call.arguments += function.at("arguments").as_string();
  }
  return out;
}

TEST_F(ApiDetails, CallsComeWhileTheyAreWritten) {
  TestServer server(model(), {});
  int64_t most = 0;
  for (const char* parallel : {"true", "false"}) {
    for (int seed = 0; seed < 4; ++seed) {
      const std::string more = fmt::format(
          R"({},"parallel_tool_calls":{},"seed":{},"max_tokens":300)", kTools, parallel, seed);
      const Json whole = ask(server, "/v1/chat/completions", chat(more));
      const Json& said = whole.at("choices").at(size_t{0}).at("message");
      std::string finish;
      const auto streamed = calls_of(
          server.post("/v1/chat/completions", chat(more + R"(,"stream":true)")).body, finish);
      EXPECT_EQ(finish, whole.at("choices").at(size_t{0}).at("finish_reason").as_string());
      if (finish != "tool_calls") continue;  // Cut in the middle of a call.
      ASSERT_EQ(std::ssize(streamed), std::ssize(said.at("tool_calls").as_array()));
      for (const auto& [index, call] : streamed) {
        const Json& other = said.at("tool_calls").at(static_cast<size_t>(index)).at("function");
        EXPECT_EQ(call.name, other.at("name").as_string());
        EXPECT_EQ(parse_json(call.arguments, "streamed"),
                  parse_json(other.at("arguments").as_string(), "whole"));
        most = std::max<int64_t>(most, call.pieces);
      }
    }
  }
  EXPECT_GT(most, 5);
}

TEST_F(ApiDetails, CallsInPiecesOfMessagesAndResponses) {
  TestServer server(model(), {});
  const std::string tool =
      R"({"name":"weather","SCHEMA":{"type":"object","properties":{"city":{"type":"string","minLength":20,"maxLength":40}},"required":["city"]}})";
  const auto with = [&](const char* schema) {
    std::string out = tool;
    return out.replace(out.find("SCHEMA"), 6, schema);
  };
  std::string input;
  int64_t deltas = 0, open = -1;
  const std::string messages =
      R"({"messages":[{"role":"user","content":"x"}],"max_tokens":300,"stream":true,"seed":2,"thinking":{"type":"disabled"},"tool_choice":{"type":"tool","name":"weather"},"tools":[)" +
      with("input_schema") + "]}";
  for (const Json& event : events_of(server.post("/v1/messages", messages).body)) {
    const std::string& type = event.at("type").as_string();
    if (type == "content_block_start") {
      EXPECT_EQ(open, -1);
      open = event.at("index").as_int();
    }
    if (type == "content_block_stop") open = -1;
    if (type != "content_block_delta") continue;
    EXPECT_EQ(event.at("index").as_int(), open);
    if (event.at("delta").at("type").as_string() != "input_json_delta") continue;
    input += event.at("delta").at("partial_json").as_string();
    ++deltas;
  }
  EXPECT_TRUE(parse_json(input, "input").at("city").is_string());
  EXPECT_GT(deltas, 3);
  const std::string responses =
      R"({"input":"x","max_output_tokens":300,"stream":true,"seed":2,"reasoning":{"effort":"none"},"tool_choice":{"type":"function","name":"weather"},"tools":[{"type":"function",)" +
      with("parameters").substr(1) + "]}";
  std::string arguments, done;
  deltas = 0;
  for (const Json& event : events_of(server.post("/v1/responses", responses).body)) {
    const std::string& type = event.at("type").as_string();
    if (type == "response.function_call_arguments.delta") {
      arguments += event.at("delta").as_string();
      ++deltas;
    }
    if (type == "response.function_call_arguments.done") done = event.at("arguments").as_string();
  }
  EXPECT_EQ(arguments, done);
  EXPECT_TRUE(parse_json(done, "arguments").at("city").is_string());
  EXPECT_GT(deltas, 3);
}

TEST_F(ApiDetails, ReasoningEndsInTime) {
  TestServer server(model(), {});
  const auto reasoning = [&](const Json& usage) {
    return usage.at("completion_tokens_details").at("reasoning_tokens").as_int();
  };
  for (const char* field :
       {R"("thinking_token_budget":6)", R"("thinking_budget":6)", R"("reasoning_budget":6)",
        R"("max_thinking_tokens":6)", R"("reasoning":{"max_tokens":6})",
        R"("thinking":{"type":"enabled","budget_tokens":6})"}) {
    const Json out = ask(server, "/v1/chat/completions",
                         chat(std::string(R"("ignore_eos":true,"max_tokens":30,)") + field));
    // A character that was begun is ended first; </think> counts too.
    EXPECT_GE(reasoning(out.at("usage")), 7) << field;
    EXPECT_LE(reasoning(out.at("usage")), 7 + 8) << field;
    EXPECT_NE(out.at("choices").at(size_t{0}).at("message").at("content").as_string(), "") << field;
  }
  const Json none = ask(server, "/v1/chat/completions",
                        chat(R"("ignore_eos":true,"max_tokens":30,"thinking_budget":-1)"));
  EXPECT_GT(reasoning(none.at("usage")), 20);
  const Json at_once = ask(server, "/v1/chat/completions",
                           chat(R"("ignore_eos":true,"max_tokens":30,"thinking_budget":0,"n":2)"));
  EXPECT_EQ(reasoning(at_once.at("usage")), 2);
  const Json message = ask(
      server, "/v1/messages",
      chat(R"("ignore_eos":true,"max_tokens":30,"thinking":{"type":"enabled","budget_tokens":5})"));
  EXPECT_EQ(message.at("content").at(size_t{0}).at("type").as_string(), "thinking");
  EXPECT_EQ(message.at("content").at(size_t{1}).at("type").as_string(), "text");
  const Json hidden = ask(
      server, "/v1/messages",
      chat(
          R"("ignore_eos":true,"max_tokens":30,"thinking":{"type":"enabled","budget_tokens":5,"display":"omitted"})"));
  EXPECT_EQ(hidden.at("content").size(), 1u);
  const Json response = ask(
      server, "/v1/responses",
      R"({"input":"x","ignore_eos":true,"max_output_tokens":30,"reasoning":{"effort":"low","max_tokens":5}})");
  EXPECT_EQ(response.at("output").size(), 2u);
}

TEST_F(ApiDetails, PrefixesBelongToTheirSaltAndKey) {
  const auto cached = [&](const TestServer& server, const std::string& more,
                          const std::string& headers = "") {
    std::string words;
    for (int i = 0; i < 60; ++i) words += "the village shares its work ";
    const Json out = ask(
        server, "/v1/chat/completions",
        R"({"messages":[{"role":"user","content":")" + words + R"("}],"max_tokens":1)" + more + "}",
        headers);
    return out.at("usage").at("prompt_tokens_details").at("cached_tokens").as_int();
  };
  {
    TestServer server(model(), {.keep_prefixes = true});
    EXPECT_EQ(cached(server, ""), 0);
    EXPECT_GT(cached(server, ""), 100);
    EXPECT_EQ(cached(server, R"(,"cache_salt":"a")"), 0);
    EXPECT_EQ(cached(server, R"(,"cache_salt":"b")"), 0);
    EXPECT_GT(cached(server, R"(,"cache_salt":"a")"), 100);
  }
  const std::string one = "Authorization: Bearer one\r\n", two = "x-api-key: two\r\n";
  for (const bool share : {false, true}) {
    TestServer server(model(), {.api = {.keys = {"one", "two"}, .keys_share_prefixes = share},
                                .keep_prefixes = true});
    EXPECT_EQ(cached(server, "", one), 0);
    EXPECT_GT(cached(server, "", one), 100);
    EXPECT_EQ(cached(server, "", two) > 100, share);
    EXPECT_EQ(cached(server, R"(,"cache_salt":"a")", one), 0);
    EXPECT_EQ(cached(server, R"(,"cache_salt":"a")", two) > 100, share);
  }
}

TEST_F(ApiDetails, AnswersGoOnWithWhatWasBegun) {
  TestServer server(model(), {});
  const std::string turns =
      R"("messages":[{"role":"user","content":"work?"},{"role":"assistant","content":"the village"}],)";
  const std::string rest = R"("max_tokens":8,"temperature":0,"ignore_eos":true)";
  const Json chat = ask(server, "/v1/chat/completions",
                        "{" + turns + R"("continue_final_message":true,)" + rest + "}");
  // The same tokens as the prompt's text gone on with.
  const Json prompt = ask(server, "/apply-template",
                          "{" + turns + R"("continue_final_message":true,)" + rest + "}");
  const std::string& text = prompt.at("prompt").as_string();
  EXPECT_TRUE(text.ends_with("the village")) << text;
  const Json plain =
      ask(server, "/v1/completions",
          "{\"prompt\":" + json_quote(text) + R"(,"add_special_tokens":false,)" + rest + "}");
  const std::string said = chat.at("choices").at(size_t{0}).at("message").at("content").as_string();
  EXPECT_TRUE(plain.at("choices").at(size_t{0}).at("text").as_string().starts_with(said)) << said;
  const Json message = ask(server, "/v1/messages", "{" + turns + rest + "}");
  EXPECT_EQ(message.at("content").at(size_t{0}).at("text").as_string(), said);
  for (const std::string& more : {std::string(R"("add_generation_prompt":true,)"),
                                  std::string(R"("messages":[{"role":"user","content":"x"}],)")}) {
    const Json fault = error(server, "/v1/chat/completions",
                             "{" + turns + R"("continue_final_message":true,)" + more + rest + "}");
    EXPECT_EQ(fault.at("param").as_string(), "continue_final_message");
  }
}

TEST_F(ApiDetails, ResponsesTellLogprobsAndCountPrompts) {
  TestServer server(model(), {});
  const std::string asked =
      R"("input":"the village","reasoning":{"effort":"none"},"ignore_eos":true,"max_output_tokens":6,"include":["message.output_text.logprobs"],"top_logprobs":2)";
  const Json whole = ask(server, "/v1/responses", "{" + asked + "}");
  const Json& part = whole.at("output").at(size_t{0}).at("content").at(size_t{0});
  ASSERT_GT(part.at("logprobs").size(), 0u);
  EXPECT_EQ(part.at("logprobs").at(size_t{0}).at("top_logprobs").size(), 2u);
  int64_t told = 0;
  for (const Json& event :
       events_of(server.post("/v1/responses", "{" + asked + R"(,"stream":true})").body)) {
    if (event.at("type").as_string() == "response.output_text.delta")
      told += std::ssize(event.at("logprobs").as_array());
  }
  EXPECT_GT(told, 0);
  const Json count =
      ask(server, "/v1/responses/input_tokens", R"({"input":"the village","reasoning":null})");
  EXPECT_EQ(count.at("object").as_string(), "response.input_tokens");
  EXPECT_GT(count.at("input_tokens").as_int(), 3);
}

TEST_F(ApiDetails, TooLongPromptsBlameTheirField) {
  TestServer server(model(), {.context_tokens = 40});
  std::string words;
  for (int i = 0; i < 60; ++i) words += "the village shares its work ";
  EXPECT_EQ(
      error(server, "/v1/completions", "{\"prompt\":\"" + words + "\"}").at("param").as_string(),
      "prompt");
  EXPECT_EQ(error(server, "/v1/responses", "{\"input\":\"" + words + "\"}").at("param").as_string(),
            "input");
}

// ---- Every field, every wrong kind

enum class Kind { kBool, kInt, kNumber, kString, kList, kObject, kTexts };

struct Field {
  const char* name;
  Kind kind;
};

bool is_of(Kind kind, const Json& value) {
  switch (kind) {
    case Kind::kBool:
      return value.is_bool();
    case Kind::kInt:
      return value.is_int();
    case Kind::kNumber:
      return value.is_number();
    case Kind::kString:
      return value.is_string();
    case Kind::kList:
      return value.is_array();
    case Kind::kObject:
      return value.is_object();
    case Kind::kTexts:  // a string, or a list of strings
      return value.is_string() || value.is_array();
  }
  return false;
}

const std::vector<Field> kGeneration = {
    {"model", Kind::kString},
    {"temperature", Kind::kNumber},
    {"top_p", Kind::kNumber},
    {"top_k", Kind::kInt},
    {"min_p", Kind::kNumber},
    {"frequency_penalty", Kind::kNumber},
    {"presence_penalty", Kind::kNumber},
    {"repetition_penalty", Kind::kNumber},
    {"repeat_penalty", Kind::kNumber},
    {"n", Kind::kInt},
    {"seed", Kind::kInt},
    {"stop", Kind::kTexts},
    {"stop_token_ids", Kind::kList},
    {"include_stop_str_in_output", Kind::kBool},
    {"ignore_eos", Kind::kBool},
    {"min_tokens", Kind::kInt},
    {"logit_bias", Kind::kObject},
    {"stream", Kind::kBool},
    {"stream_options", Kind::kObject},
    {"max_tokens", Kind::kInt},
    {"max_completion_tokens", Kind::kInt},
    {"max_output_tokens", Kind::kInt},
    {"n_predict", Kind::kInt},
    {"priority", Kind::kInt},
    {"cache_salt", Kind::kString},
    {"response_format", Kind::kObject},
    {"structured_outputs", Kind::kObject},
    {"guided_regex", Kind::kString},
    {"guided_choice", Kind::kList},
    {"regex", Kind::kString},
};

const std::vector<Field> kThinking = {
    {"include_reasoning", Kind::kBool},
    {"separate_reasoning", Kind::kBool},
    {"reasoning_effort", Kind::kString},
    {"reasoning", Kind::kObject},
    {"thinking", Kind::kObject},
    {"enable_thinking", Kind::kBool},
    {"chat_template_kwargs", Kind::kObject},
    {"thinking_token_budget", Kind::kInt},
    {"thinking_budget", Kind::kInt},
    {"reasoning_budget", Kind::kInt},
    {"reasoning_format", Kind::kString},
    {"stream_reasoning", Kind::kBool},
};

std::vector<Field> operator+(std::vector<Field> a, const std::vector<Field>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

struct Endpoint {
  const char* path;
  const char* good;  // the rest of a body that is right
  std::vector<Field> fields;
};

std::vector<Endpoint> endpoints() {
  return {
      {"/v1/chat/completions", R"("messages":[{"role":"user","content":"x"}])",
       kGeneration + kThinking +
           std::vector<Field>{{"messages", Kind::kList},
                              {"tools", Kind::kList},
                              {"parallel_tool_calls", Kind::kBool},
                              {"logprobs", Kind::kBool},
                              {"top_logprobs", Kind::kInt},
                              {"continue_final_message", Kind::kBool},
                              {"add_generation_prompt", Kind::kBool},
                              {"echo", Kind::kBool}}},
      {"/v1/completions", R"("prompt":"x")",
       kGeneration + std::vector<Field>{{"prompt", Kind::kTexts},
                                        {"logprobs", Kind::kInt},
                                        {"echo", Kind::kBool},
                                        {"best_of", Kind::kInt},
                                        {"suffix", Kind::kString},
                                        {"add_special_tokens", Kind::kBool}}},
      {"/v1/responses", R"("input":"x")",
       kGeneration + kThinking +
           std::vector<Field>{{"input", Kind::kTexts},
                              {"instructions", Kind::kString},
                              {"tools", Kind::kList},
                              {"text", Kind::kObject},
                              {"parallel_tool_calls", Kind::kBool},
                              {"include", Kind::kList},
                              {"top_logprobs", Kind::kInt},
                              {"truncation", Kind::kString},
                              {"max_tool_calls", Kind::kInt},
                              {"background", Kind::kBool}}},
      {"/v1/messages", R"("messages":[{"role":"user","content":"x"}])",
       kGeneration + kThinking +
           std::vector<Field>{{"messages", Kind::kList},
                              {"system", Kind::kTexts},
                              {"tools", Kind::kList},
                              {"tool_choice", Kind::kObject},
                              {"stop_sequences", Kind::kTexts},
                              {"output_config", Kind::kObject}}},
      {"/v1/messages/count_tokens",
       R"("messages":[{"role":"user","content":"x"}])",
       {{"model", Kind::kString}, {"system", Kind::kTexts}, {"tools", Kind::kList}}},
      {"/tokenize",
       R"("prompt":"x")",
       {{"model", Kind::kString},
        {"prompt", Kind::kString},
        {"messages", Kind::kList},
        {"add_special_tokens", Kind::kBool},
        {"with_pieces", Kind::kBool},
        {"return_token_strs", Kind::kBool}}},
      {"/detokenize", R"("tokens":[1])", {{"model", Kind::kString}, {"tokens", Kind::kList}}},
  };
}

TEST_F(ApiDetails, EveryFieldOfAWrongKindIsNamed) {
  TestServer server(model(), {});
  const char* kValues[] = {"7",          "1.5",  "true", "\"zzz\"",   "[{\"x\":[]}]",
                           "{\"zz\":1}", "1e39", "-7",   "[7.5,null]"};
  LoopbackClient client(server.port());
  for (const Endpoint& endpoint : endpoints()) {
    for (const Field& field : endpoint.fields) {
      for (const char* value : kValues) {
        if (is_of(field.kind, parse_json(value, "value"))) continue;
        // The last of two members of one name counts.
        const std::string body =
            fmt::format(R"({{{},"max_tokens":1,"{}":{}}})", endpoint.good, field.name, value);
        const HttpAnswer answer = client.ask(http_post(endpoint.path, body));
        ASSERT_EQ(answer.status, 400) << endpoint.path << " " << body << answer.body;
        const Json fault = answer.json().at("error");
        const std::string& message = fault.at("message").as_string();
        EXPECT_NE(message, "");
        if (const Json* param = fault.find("param"); param != nullptr && param->is_string()) {
          const bool renamed = param->as_string() == "text.format";  // of responses
          EXPECT_TRUE(renamed || param->as_string().starts_with(field.name))
              << endpoint.path << " " << body << answer.body;
        }
      }
    }
  }
}

TEST_F(ApiDetails, ObjectsInsideAreReadAsStrictly) {
  TestServer server(model(), {});
  const std::pair<const char*, const char*> cases[] = {
      {R"("stream":true,"stream_options":{"include_usage":"yes"})", "stream_options.include_usage"},
      {R"("reasoning":{"effort":"zzz"})", "reasoning.effort"},
      {R"("reasoning":{"max_tokens":-2})", "reasoning.max_tokens"},
      {R"("thinking":{})", "thinking.type"},
      {R"("thinking":{"type":"enabled","budget_tokens":"many"})", "thinking.budget_tokens"},
      {R"("reasoning_format":"zzz")", "reasoning_format"},
      {R"("thinking_budget":-2)", "thinking_budget"},
      {R"("max_tokens":3,"max_output_tokens":-1)", "max_output_tokens"},
      {R"("cache_salt":"")", "cache_salt"},
      {R"("logit_bias":{"5":null})", "logit_bias.5"},
      {R"("stop_token_ids":[1.5])", "stop_token_ids"},
      {R"("tools":[{"type":"function","function":{"name":5}}])", "tools.0.function.name"},
      {R"("tools":[{"type":7}])", "tools.0.type"},
      {R"("messages":[{"role":"user","content":[{"type":"text","text":7}]}])",
       "messages.0.content.0.text"},
      {R"("messages":[{"role":["user"],"content":"x"}])", "messages.0.role"},
      {R"("messages":[{"role":"user","content":[{"type":"refusal","refusal":"no"}]}])",
       "messages.0.content.0"},
      {R"("messages":[{"role":"assistant","content":[{"type":"refusal"}]}])",
       "messages.0.content.0.refusal"},
      {R"("tools":[{"type":"function","function":{"name":""}}])", "tools.0.function.name"},
      {R"("tools":[{"type":"function","function":{"name":"f","strict":"yes"}}])",
       "tools.0.function.strict"},
      {R"("tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":{"type":"custom"})",
       "tool_choice.type"},
      {R"("tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":{"type":"allowed_tools"})",
       "tool_choice.tools"},
      {R"("tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"none","tools":[]}})",
       "tool_choice.allowed_tools.mode"},
      {R"("tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":{"type":"allowed_tools","allowed_tools":{"tools":[{"type":"function","function":{"name":"g"}}]}})",
       "tool_choice.allowed_tools.tools.0.function.name"},
      {R"("tool_choice":{"type":"allowed_tools","allowed_tools":{"tools":[{"type":"function","function":{"name":"g"}}]}})",
       "tool_choice.allowed_tools.tools.0.function.name"},
      {R"("response_format":{"type":"json_schema","json_schema":"x"})",
       "response_format.json_schema"},
  };
  for (const auto& [field, param] : cases)
    EXPECT_EQ(error(server, "/v1/chat/completions", chat(field)).at("param").as_string(), param)
        << field;
  for (const char* body :
       {R"({"messages":[{"role":"user","content":[]}],"max_tokens":3})",
        R"({"messages":[{"role":"assistant","content":[]}],"max_tokens":3,"stream":true})",
        R"({"messages":[],"max_tokens":3})"}) {
    const Json fault = error(server, "/v1/messages", body);
    EXPECT_NE(fault.at("message").as_string().find("is empty"), std::string::npos) << body;
  }
}

TEST_F(ApiDetails, ContentComesInManyShapes) {
  TestServer server(model(), {});
  const HttpAnswer packed =
      server.post("/v1/chat/completions", "\x1f\x8b", "Content-Encoding: gzip\r\n");
  EXPECT_EQ(packed.status, 415);
  EXPECT_EQ(server.post("/v1/messages", chat(R"("max_tokens":1,"output_config":{"effort":"zzz"})"))
                .status,
            400);
  const Json closed = ask(server, "/apply-template", chat(R"("add_generation_prompt":false)"));
  EXPECT_TRUE(closed.at("prompt").as_string().ends_with("<|endofturn|>\n"));
  // White space alone is nothing to go on with.
  ask(server, "/v1/messages",
      R"({"messages":[{"role":"user","content":"x"},{"role":"assistant","content":"  "}],"max_tokens":1})");
  for (
      const char* messages :
      {R"([{"role":"user","content":["the ",{"type":"text","text":"village"}]}])",
       R"([{"role":"user","content":[]}])",
       R"([{"role":"user","content":"x"},{"role":"assistant","content":[{"type":"refusal","refusal":"no"}]},{"role":"user","content":"y"}])",
       R"([{"role":"USER","content":"x","name":"bob"}])",
       R"([{"role":"assistant","content":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{bad"}}]},{"role":"tool","tool_call_id":"a","content":["r"]}])"})
    ask(server, "/v1/chat/completions",
        std::string(R"({"max_tokens":2,"messages":)") + messages + "}");
}

}  // namespace
}  // namespace dure
