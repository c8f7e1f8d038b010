// The whole server on a tiny model: who may ask, what is refused and how, answers whole and as
// streams, clients that leave, read slowly or come too many.
#include "server/api.h"

#include <gtest/gtest.h>

#include <regex>
#include <set>
#include <thread>

#include "base/utf8.h"
#include "chat/chat_fixture.h"
#include "server/server_fixture.h"

namespace dure {
namespace {

class ApiTest : public TinyModelTest {
 protected:
  template <typename Condition>
  static bool soon(const Condition& holds, double seconds = 20) {
    for (int i = 0; i < seconds * 200; ++i) {
      if (holds()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return holds();
  }
  static int64_t running(TestServer& server) {
    const EngineStatistics s = server.engine().statistics();
    return s.generator.running + s.waiting;
  }
  // 400 with that field to blame.
  static void expect_blame(const TestServer& server, const std::string& path,
                           const std::string& body, const std::string& param) {
    const HttpAnswer answer = server.post(path, body);
    EXPECT_EQ(answer.status, 400) << body;
    const Json error = answer.json().at("error");
    EXPECT_EQ(error.at("param").is_null() ? "" : error.at("param").as_string(), param) << body;
    EXPECT_NE(error.at("message").as_string(), "");
  }
};

TEST_F(ApiTest, WrongFieldsAreNamed) {
  TestServer server(model(), {});
  const std::pair<const char*, const char*> cases[] = {
      {R"("temperature":"hot")", "temperature"},
      {R"("temperature":2.5)", "temperature"},
      {R"("top_p":0)", "top_p"},
      {R"("top_k":-2)", "top_k"},
      {R"("min_p":1.5)", "min_p"},
      {R"("presence_penalty":3)", "presence_penalty"},
      {R"("repetition_penalty":0)", "repetition_penalty"},
      {R"("n":17)", "n"},
      {R"("n":1.5)", "n"},
      {R"("max_tokens":0)", "max_tokens"},
      {R"("max_completion_tokens":-1)", "max_completion_tokens"},
      {R"("max_tokens":2,"min_tokens":3)", "min_tokens"},
      {R"("stop":7)", "stop"},
      {R"("stop":["a",""])", "stop"},
      {R"("stop_token_ids":[100000])", "stop_token_ids"},
      {R"("logit_bias":{"-1":0})", "logit_bias"},
      {R"("logit_bias":{"5":101})", "logit_bias"},
      {R"("logit_bias":[5])", "logit_bias"},
      {R"("top_logprobs":2)", "top_logprobs"},
      {R"("logprobs":1)", "logprobs"},
      {R"("stream":"yes")", "stream"},
      {R"("stream_options":{"include_usage":true})", "stream_options"},
      {R"("seed":1e30)", "seed"},
      {R"("tools":[])", "tools"},
      {R"("tools":[{"type":"function","function":{}}])", "tools.0.function.name"},
      {R"("tool_choice":"required")", "tool_choice"},
      {R"("tool_choice":"perhaps")", "tool_choice"},
      {R"("response_format":{"type":"json_schema"})", "response_format.json_schema"},
      {R"("response_format":{"type":"xml"})", "response_format.type"},
      {R"("chat_template_kwargs":{"enable_thinking":"false"})",
       "chat_template_kwargs.enable_thinking"},
      {R"("reasoning_effort":"huge")", "reasoning_effort"},
      {R"("response_format":{"type":"json_schema","json_schema":{"name":"x"}})",
       "response_format.json_schema.schema"},
      {R"("response_format":{"type":"structural_tag"})", "response_format.type"},
      {R"("response_format":"json_object")", "response_format"},
      {R"("guided_regex":"(a+")", "guided_regex"},
      {R"("guided_regex":5)", "guided_regex"},
      {R"("guided_choice":[])", "guided_choice"},
      {R"("guided_json":"{")", "guided_json"},
      {R"("structured_outputs":{"grammar":"root ::= x"})", "structured_outputs.grammar"},
      {R"("structured_outputs":{"jsn":{}})", "structured_outputs.jsn"},
      {R"("grammar":"root ::= x")", "grammar"},
      {R"("guided_regex":"a","guided_choice":["b"])", "guided_choice"},
      {R"("guided_regex":"a","ignore_eos":true)", "ignore_eos"},
      {R"("guided_regex":"a","min_tokens":2)", "min_tokens"},
  };
  for (const auto& [field, param] : cases)
    expect_blame(server, "/v1/chat/completions", chat(field), param);
  const std::pair<const char*, const char*> messages[] = {
      {R"({})", "messages"},
      {R"({"messages":[]})", "messages"},
      {R"({"messages":{}})", "messages"},
      {R"({"messages":["x"]})", "messages.0"},
      {R"({"messages":[{"content":"x"}]})", "messages.0.role"},
      {R"({"messages":[{"role":"king","content":"x"}]})", "messages.0.role"},
      {R"({"messages":[{"role":"user"}]})", "messages.0.content"},
      {R"({"messages":[{"role":"user","content":5}]})", "messages.0.content"},
      {R"({"messages":[{"role":"user","content":[{"type":"image_url"}]}]})",
       "messages.0.content.0"},
      {R"({"messages":[{"role":"user","content":"x"},{"role":"assistant","tool_calls":[{}]}]})",
       "messages.1.tool_calls.0.name"},
      {R"([1])", ""},
      {R"({"messages": )", ""},
      {"\"\xff\xfe\"", ""},
  };
  for (const auto& [body, param] : messages)
    expect_blame(server, "/v1/chat/completions", body, param);
  expect_blame(server, "/v1/completions", R"({"prompt":[[5],[]]})", "prompt");
  expect_blame(server, "/v1/completions", R"({"prompt":[5,"x"]})", "prompt");
  expect_blame(server, "/v1/completions", R"({"prompt":{"a":1}})", "prompt");
  expect_blame(server, "/v1/completions", R"({"prompt":[99999]})", "prompt");
  expect_blame(server, "/v1/responses", R"({"input":"x","previous_response_id":"r"})",
               "previous_response_id");
  expect_blame(server, "/detokenize", R"({"tokens":"x"})", "tokens");
  std::string deep(2000, '[');
  expect_blame(server, "/v1/chat/completions", R"({"messages":)" + deep, "");
}

TEST_F(ApiTest, TooLongIsAnErrorThatAgentsRecognise) {
  TestServer server(model(), {.context_tokens = 64});
  std::string words;
  for (int i = 0; i < 100; ++i) words += "village ";
  const HttpAnswer answer = server.post(
      "/v1/chat/completions", R"({"messages":[{"role":"user","content":")" + words + R"("}]})");
  EXPECT_EQ(answer.status, 400);
  const Json error = answer.json().at("error");
  const std::string& message = error.at("message").as_string();
  EXPECT_NE(message.find("maximum context length is 64 tokens"), std::string::npos);
  EXPECT_NE(message.find("Please reduce the length of the messages"), std::string::npos);
  EXPECT_EQ(error.at("code").as_string(), "context_length_exceeded");
  EXPECT_EQ(error.at("n_ctx").as_int(), 64);
  EXPECT_GT(error.at("n_prompt_tokens").as_int(), 64);
  const HttpAnswer asked = server.post("/v1/chat/completions", chat(R"("max_tokens":1000)"));
  EXPECT_EQ(asked.status, 400);
  EXPECT_EQ(asked.json().at("error").at("param").as_string(), "max_tokens");
  const HttpAnswer room = server.post("/v1/chat/completions", chat(R"("ignore_eos":true)"));
  EXPECT_EQ(room.status, 200);
  EXPECT_EQ(room.json().at("usage").at("total_tokens").as_int(), 64);
}

TEST_F(ApiTest, AStreamSaysWhatTheWholeAnswerSays) {
  TestServer server(model(), {});
  for (const char* more :
       {R"("max_tokens":40,"ignore_eos":true)", R"("max_tokens":30,"n":3,"temperature":1.5)",
        R"("max_tokens":60,"logprobs":true,"top_logprobs":3,"ignore_eos":true)",
        R"("max_tokens":40,"chat_template_kwargs":{"enable_thinking":false},"ignore_eos":true)"}) {
    SCOPED_TRACE(more);
    const HttpAnswer plain = server.post("/v1/chat/completions", chat(more));
    ASSERT_EQ(plain.status, 200) << plain.body;
    const Json whole = plain.json();
    const HttpAnswer stream = server.post(
        "/v1/chat/completions",
        chat(std::string(more) + R"(,"stream":true,"stream_options":{"include_usage":true})"));
    ASSERT_EQ(stream.status, 200);
    const std::vector<Json> events = events_of(stream.body);
    ASSERT_GE(events.size(), 3u);
    EXPECT_EQ(events.back(), Json("[DONE]"));
    const size_t choices = whole.at("choices").size();
    std::vector<std::string> content(choices), reasoning(choices), finish(choices);
    std::vector<size_t> logprobs(choices);
    for (const Json& event : events) {
      if (event.is_string() || event.at("choices").size() == 0) continue;
      const Json& choice = event.at("choices").at(size_t{0});
      const auto i = static_cast<size_t>(choice.at("index").as_int());
      EXPECT_EQ(finish[i], "") << "a chunk after the last";
      if (const Json* text = choice.at("delta").find("content")) content[i] += text->as_string();
      if (const Json* text = choice.at("delta").find("reasoning_content"))
        reasoning[i] += text->as_string();
      if (choice.at("logprobs").is_object())
        logprobs[i] += choice.at("logprobs").at("content").size();
      if (!choice.at("finish_reason").is_null()) finish[i] = choice.at("finish_reason").as_string();
    }
    for (size_t i = 0; i < choices; ++i) {
      const Json& choice = whole.at("choices").at(i);
      const Json* thought = choice.at("message").find("reasoning_content");
      EXPECT_EQ(content[i], choice.at("message").at("content").as_string());
      EXPECT_EQ(reasoning[i], thought != nullptr ? thought->as_string() : "");
      EXPECT_EQ(finish[i], choice.at("finish_reason").as_string());
      if (choice.at("logprobs").is_null()) continue;
      EXPECT_EQ(logprobs[i], choice.at("logprobs").at("content").size());
    }
    const Json& usage = events[events.size() - 2].at("usage");
    EXPECT_EQ(usage, whole.at("usage"));
  }
}

TEST_F(ApiTest, CompletionsEchoAndScore) {
  TestServer server(model(), {});
  const std::string asked = R"("max_tokens":1,"temperature":0,"echo":true,"logprobs":1)";
  // As lm-eval asks: lists of ids, and one token more.
  const Json whole =
      server.post("/v1/completions", R"({"prompt":[[60,61,62],[70,71,72,73]],)" + asked + "}")
          .json();
  ASSERT_EQ(whole.at("choices").size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    const Json& lists = whole.at("choices").at(i).at("logprobs");
    EXPECT_EQ(lists.at("token_logprobs").size(), 4 + i);
    EXPECT_EQ(lists.at("tokens").size(), 4 + i);
    EXPECT_TRUE(lists.at("token_logprobs").at(size_t{0}).is_null());
    for (size_t t = 1; t < 4 + i; ++t) {
      const std::string& token = lists.at("tokens").at(t).as_string();
      EXPECT_EQ(lists.at("top_logprobs").at(t).at(token), lists.at("token_logprobs").at(t));
      EXPECT_LE(lists.at("token_logprobs").at(t).as_double(), 0);
    }
  }
  const Json score = server
                         .post("/v1/completions",
                               R"({"prompt":[60,61,62],"max_tokens":0,"echo":true,"logprobs":0})")
                         .json();
  EXPECT_EQ(score.at("choices").at(size_t{0}).at("logprobs").at("token_logprobs").size(), 3u);
  EXPECT_EQ(score.at("usage").at("completion_tokens").as_int(), 0);
  const HttpAnswer stream =
      server.post("/v1/completions",
                  R"({"prompt":"the village","max_tokens":5,"stream":true,"echo":true,"seed":3})");
  std::string text;
  for (const Json& event : events_of(stream.body)) {
    if (!event.is_string()) text += event.at("choices").at(size_t{0}).at("text").as_string();
  }
  EXPECT_TRUE(text.starts_with("the village"));
}

TEST_F(ApiTest, StopStringsEndAnAnswerAndItsWork) {
  TestServer server(model(), {});
  const Json free =
      server
          .post("/v1/completions",
                R"({"prompt":"the","max_tokens":60,"temperature":0,"ignore_eos":true})")
          .json();
  const std::string text = free.at("choices").at(size_t{0}).at("text").as_string();
  ASSERT_GT(text.size(), 12u);
  Json asked =
      parse_json(R"({"prompt":"the","max_tokens":60,"temperature":0,"ignore_eos":true})", "x");
  const std::string stop = text.substr(0, static_cast<size_t>(utf8_length(text, 0)));
  asked["stop"] = stop;
  const Json cut = server.post("/v1/completions", asked.dump()).json();
  EXPECT_EQ(cut.at("choices").at(size_t{0}).at("text").as_string(), "");
  EXPECT_EQ(cut.at("choices").at(size_t{0}).at("finish_reason").as_string(), "stop");
  EXPECT_EQ(cut.at("choices").at(size_t{0}).at("stop_reason").as_string(), stop);
  EXPECT_TRUE(soon([&] { return running(server) == 0; }));
}

TEST_F(ApiTest, ClientsThatLeaveFreeTheirPlace) {
  TestServer server(model(), {.context_tokens = 200000, .page_count = 4000});
  const std::string endless = R"("ignore_eos":true,"max_tokens":190000)";
  std::vector<std::unique_ptr<LoopbackClient>> clients;
  for (int i = 0; i < 6; ++i) {
    clients.push_back(std::make_unique<LoopbackClient>(server.port()));
    clients.back()->send(
        http_post("/v1/chat/completions", chat(endless + (i % 2 == 0 ? R"(,"stream":true)" : ""))));
  }
  ASSERT_TRUE(soon([&] { return running(server) == 6; }));
  for (const auto& client : clients) client->close();
  EXPECT_TRUE(soon([&] { return running(server) == 0; }));
  EXPECT_EQ(server.http().statistics().exchanges, 0);
  EXPECT_NE(server.get("/metrics").body.find("finished_reason=\"abort\"} 6"), std::string::npos);
}

TEST_F(ApiTest, HalfClosedClientsGetTheirAnswers) {
  TestServer server(model(), {.sequences_max = 2});
  std::vector<std::unique_ptr<LoopbackClient>> clients;
  for (int i = 0; i < 6; ++i) {
    clients.push_back(std::make_unique<LoopbackClient>(server.port()));
    clients.back()->send(
        http_post("/v1/chat/completions", chat(R"("ignore_eos":true,"max_tokens":200)")));
    clients.back()->half_close();
  }
  for (const auto& client : clients) {
    const HttpAnswer answer = client->answer();
    EXPECT_TRUE(answer.whole);
    EXPECT_EQ(answer.json().at("usage").at("completion_tokens").as_int(), 200);
    EXPECT_TRUE(client->ended());
  }
  LoopbackClient stream(server.port());
  stream.send(http_post("/v1/messages", chat(R"("max_tokens":200,"stream":true)")));
  stream.half_close();
  EXPECT_NE(stream.answer().body.find("message_stop"), std::string::npos);
}

TEST_F(ApiTest, ASlowReaderStallsNobody) {
  HttpServerOptions http;
  http.limits.unsent_high_bytes = 4096;
  TestServer server(model(), {.http = http, .context_tokens = 60000, .page_count = 2000});
  LoopbackClient slow(server.port());
  const int small = 4096;
  ::setsockopt(slow.fd(), SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
  slow.send(http_post("/v1/chat/completions",
                      chat(R"("ignore_eos":true,"max_tokens":700,"stream":true)")));
  ASSERT_TRUE(slow.receive_until("data: "));
  for (int i = 0; i < 5; ++i)
    EXPECT_EQ(server.post("/v1/chat/completions", chat(R"("max_tokens":5)")).status, 200);
  // The engine is done with it long before the reader is.
  EXPECT_TRUE(soon([&] { return running(server) == 0; }));
  const HttpAnswer answer = slow.answer();
  EXPECT_TRUE(answer.whole);
  EXPECT_NE(answer.body.find("[DONE]"), std::string::npos);
}

TEST_F(ApiTest, AFullQueueIsRefusedWithATimeToComeBack) {
  TestServer server(
      model(), {.context_tokens = 100000, .sequences_max = 1, .queue_max = 1, .page_count = 2000});
  std::vector<std::unique_ptr<LoopbackClient>> clients;
  for (int i = 0; i < 2; ++i) {
    clients.push_back(std::make_unique<LoopbackClient>(server.port()));
    clients.back()->send(http_post("/v1/chat/completions",
                                   chat(R"("ignore_eos":true,"max_tokens":90000,"stream":true)")));
    ASSERT_TRUE(clients.back()->receive_until("assistant"));
  }
  const HttpAnswer refused = server.post("/v1/chat/completions", chat(R"("max_tokens":1)"));
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(refused.json().at("error").at("code").as_string(), "queue_full");
  EXPECT_NE(refused.header("Retry-After"), "");
  clients.clear();
  EXPECT_TRUE(soon([&] {
    return server.post("/v1/chat/completions", chat(R"("max_tokens":1)")).status == 200;
  }));
}

TEST_F(ApiTest, KeysGuardAllButWhatIsOpen) {
  TestServer server(model(), {.api = {.keys = {"secret-one", "two"}}});
  for (const char* path : {"/", "/health", "/version", "/v1/health"})
    EXPECT_EQ(server.get(path).status, 200) << path;
  for (const char* path : {"/v1/models", "/models", "/metrics", "/props", "/v1/models/nano"})
    EXPECT_EQ(server.get(path).status, 401) << path;
  const HttpAnswer refused = server.post("/v1/chat/completions", chat(R"("max_tokens":1)"));
  EXPECT_EQ(refused.status, 401);
  EXPECT_EQ(refused.json().at("error").at("code").as_string(), "invalid_api_key");
  EXPECT_EQ(server.get("/v1/models", "Authorization: Bearer secret-one\r\n").status, 200);
  EXPECT_EQ(server.get("/v1/models", "authorization: bearer two\r\n").status, 200);
  EXPECT_EQ(server.get("/v1/models", "x-api-key: two\r\n").status, 200);
  for (const char* wrong : {"Authorization: Bearer secret-on\r\n", "Authorization: Bearer \r\n",
                            "Authorization: Bearer secret-oneX\r\n", "x-api-key: \r\n",
                            "Authorization: Basic secret-one\r\n", "x-api-key: twotwo\r\n"})
    EXPECT_EQ(server.get("/v1/models", wrong).status, 401) << wrong;
}

TEST_F(ApiTest, StrangersMayNotAsk) {
  TestServer server(model(), {.api = {.cors_origins = {"https://friend.example"}}});
  const auto with_host = [&](const std::string& host) {
    return LoopbackClient(server.port())
        .ask("GET /v1/models HTTP/1.1\r\nHost: " + host + "\r\n\r\n")
        .status;
  };
  EXPECT_EQ(with_host("localhost:8000"), 200);
  EXPECT_EQ(with_host("127.0.0.1"), 200);
  EXPECT_EQ(with_host("[::1]:8000"), 200);
  EXPECT_EQ(with_host("host.docker.internal:8000"), 200);
  EXPECT_EQ(with_host("evil.example"), 403);
  EXPECT_EQ(with_host("localhost.evil.example"), 403);
  const auto from = [&](const char* origin) {
    return server.post("/v1/chat/completions", chat(R"("max_tokens":1)"),
                       fmt::format("Origin: {}\r\n", origin));
  };
  EXPECT_EQ(from("http://localhost:3000").header("Access-Control-Allow-Origin"),
            "http://localhost:3000");
  EXPECT_EQ(from("https://friend.example").status, 200);
  EXPECT_EQ(from("https://evil.example").status, 403);
  EXPECT_EQ(from("https://evil.example").header("Access-Control-Allow-Origin"), "");
  EXPECT_EQ(from("null").status, 403);
  const HttpAnswer preflight =
      LoopbackClient(server.port())
          .ask(
              "OPTIONS /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
              "Origin: http://localhost:3000\r\n"
              "Access-Control-Request-Method: POST\r\n\r\n");
  EXPECT_EQ(preflight.status, 204);
  EXPECT_EQ(preflight.header("Access-Control-Allow-Origin"), "http://localhost:3000");
}

TEST_F(ApiTest, UnknownPlacesMethodsAndKinds) {
  TestServer server(model(), {});
  const HttpAnswer missing = server.get("/v1/nothing");
  EXPECT_EQ(missing.status, 404);
  EXPECT_NE(missing.body.find("/chat/completions"), std::string::npos);
  const HttpAnswer method = server.get("/v1/chat/completions");
  EXPECT_EQ(method.status, 405);
  EXPECT_EQ(method.header("Allow"), "POST, OPTIONS");
  EXPECT_EQ(server.post("/v1/models", "{}").status, 405);
  EXPECT_EQ(server.get("/v1/models/alias/of/it").status, 200);
  EXPECT_EQ(server.get("/v1/models/other").json().at("error").at("code").as_string(),
            "model_not_found");
  LoopbackClient client(server.port());
  client.send(
      "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
      "Content-Length: 2\r\n\r\n{}");
  EXPECT_EQ(client.answer().status, 415);
  EXPECT_EQ(server.post("/v1/chat/completions", chat(R"("max_tokens":1,"colour":"red")")).status,
            200);
  EXPECT_EQ(server.post("/chat/completions/", chat(R"("max_tokens":1)")).status, 200);
  const Json error = server.post("/v1/messages", R"({"messages":[]})").json();
  EXPECT_EQ(error.at("type").as_string(), "error");
  EXPECT_EQ(error.at("error").at("type").as_string(), "invalid_request_error");
}

TEST_F(ApiTest, LoadingIsSaidAsSuch) {
  TestServer server(model(), {.ready = false});
  for (const char* path : {"/health", "/v1/models"}) {
    const HttpAnswer answer = server.get(path);
    EXPECT_EQ(answer.status, 503) << path;
    EXPECT_EQ(answer.json().at("error").at("code").as_string(), "loading");
    EXPECT_NE(answer.header("Retry-After"), "");
  }
  EXPECT_EQ(server.get("/").status, 200);
  server.set_ready();
  EXPECT_EQ(server.get("/health").status, 200);
  EXPECT_EQ(server.post("/v1/chat/completions", chat(R"("max_tokens":1)")).status, 200);
}

TEST_F(ApiTest, MessagesAndResponsesStreamTheirBlocks) {
  TestServer server(model(), {});
  const std::string asked =
      R"({"messages":[{"role":"user","content":"the village"}],"max_tokens":30,"stream":true})";
  int64_t open = -1, blocks = 0;
  std::string last;
  for (const Json& event : events_of(server.post("/v1/messages", asked).body)) {
    last = event.at("type").as_string();
    if (last == "content_block_start") {
      EXPECT_EQ(open, -1);
      open = event.at("index").as_int();
      EXPECT_EQ(open, blocks++);
    } else if (last == "content_block_delta") {
      EXPECT_EQ(event.at("index").as_int(), open);
    } else if (last == "content_block_stop") {
      EXPECT_EQ(event.at("index").as_int(), open);
      open = -1;
    }
  }
  EXPECT_EQ(last, "message_stop");
  EXPECT_GE(blocks, 1);
  int64_t sequence = 0;
  const std::vector<Json> events = events_of(
      server
          .post("/v1/responses",
                R"({"input":"the village","max_output_tokens":30,"ignore_eos":true,"stream":true})")
          .body);
  for (const Json& event : events) EXPECT_EQ(event.at("sequence_number").as_int(), sequence++);
  ASSERT_GT(events.size(), 3u);
  const Json& response = events.back().at("response");
  EXPECT_EQ(response.at("usage").at("output_tokens").as_int(), 30);
  EXPECT_EQ(response.at("status").as_string(), "incomplete");
}

TEST_F(ApiTest, LargeBodiesAreReadBesideTheStreams) {
  TestServer server(model(), {.context_tokens = 64});
  std::string words(400000, 'a');
  const HttpAnswer answer = server.post(
      "/v1/chat/completions", R"({"messages":[{"role":"user","content":")" + words + R"("}]})");
  EXPECT_EQ(answer.status, 400);
  EXPECT_EQ(answer.json().at("error").at("code").as_string(), "context_length_exceeded");
}

TEST_F(ApiTest, SilentAnswersGiveSignsOfLife) {
  TestServer server(model(), {.api = {.ping_seconds = 0.5},
                              .context_tokens = 100000,
                              .sequences_max = 1,
                              .page_count = 2000});
  LoopbackClient first(server.port()), stream(server.port()), plain(server.port()),
      messages(server.port());
  first.send(http_post("/v1/chat/completions",
                       chat(R"("ignore_eos":true,"max_tokens":90000,"stream":true)")));
  ASSERT_TRUE(first.receive_until("reasoning_content"));
  stream.send(http_post("/v1/chat/completions", chat(R"("max_tokens":3,"stream":true)")));
  plain.send(http_post("/v1/chat/completions", chat(R"("max_tokens":3)")));
  messages.send(http_post("/v1/messages", chat(R"("max_tokens":3,"stream":true)")));
  EXPECT_TRUE(stream.receive_until(": ping\n\n"));
  EXPECT_TRUE(messages.receive_until("event: ping\n"));
  EXPECT_TRUE(plain.receive_until("1\r\n \r\n"));
  first.close();
  const HttpAnswer answer = plain.answer();
  EXPECT_TRUE(answer.whole);
  EXPECT_EQ(answer.json().at("usage").at("completion_tokens").as_int(), 3);
  EXPECT_EQ(events_of(stream.answer().body).back(), Json("[DONE]"));
}

TEST_F(ApiTest, TheDashboardNamesMetricsThatExist) {
  TestServer server(model(), {});
  EXPECT_EQ(server.post("/v1/chat/completions", chat(R"("max_tokens":2)")).status, 200);
  const std::string metrics = server.get("/metrics").body;
  const Json dashboard =
      parse_json(read_file(DURE_SOURCE_DIR "/docs/grafana.json"), "docs/grafana.json");
  std::set<std::string> names;
  const auto note = [&](const std::string& text) {
    static const std::regex name("\\b(dure|http|process)_[a-z0-9_]+");
    for (std::sregex_iterator at(text.begin(), text.end(), name), end; at != end; ++at)
      names.insert(at->str());
  };
  for (const Json& panel : dashboard.at("panels").as_array()) {
    for (const Json& target : panel.at("targets").as_array()) note(target.at("expr").as_string());
  }
  for (const Json& variable : dashboard.at("templating").at("list").as_array()) {
    if (variable.contains("definition")) note(variable.at("definition").as_string());
  }
  EXPECT_GT(names.size(), 20u);
  for (const std::string& name : names) {
    EXPECT_TRUE(metrics.find("\n" + name + "{") != std::string::npos ||
                metrics.find("\n" + name + " ") != std::string::npos)
        << name;
  }
}

TEST_F(ApiTest, MoreThanCanEverWaitIsTheClientsFault) {
  TestServer server(model(), {.sequences_max = 2, .queue_max = 3});
  expect_blame(server, "/v1/completions", R"({"prompt":["a","b","c"],"n":2,"max_tokens":1})",
               "prompt");
  EXPECT_EQ(server.post("/v1/completions", R"({"prompt":["a","b"],"n":2,"max_tokens":1})").status,
            200);
}

}  // namespace
}  // namespace dure
