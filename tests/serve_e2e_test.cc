// `dure serve` as a process: what it prints, how it answers, what a signal does, and what it
// refuses before it starts.
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "program.h"
#include "served.h"
#include "server/loopback_client.h"
#include "server/server_fixture.h"
#include "tiny_model.h"

namespace dure {
namespace {

class Serve : public TinyModel {
 protected:
  static std::string chat(const std::string& more) {
    return R"({"messages":[{"role":"user","content":"the village"}],"seed":1,)" + more + "}";
  }
};

TEST_F(Serve, ChatsStreamsRefusesAndEnds) {
  Served server(at("model"), "--context 512 --max-sequences 4 --model-name tiny --access-log");
  EXPECT_EQ(server.get("/health").status, 200);
  EXPECT_NE(server.said().find("curl http://127.0.0.1:"), std::string::npos);
  EXPECT_EQ(server.get("/v1/models").json().at("data").at(size_t{0}).at("id").as_string(), "tiny");
  const Json whole =
      server.post("/v1/chat/completions", chat(R"("model":"tiny","max_tokens":12)")).json();
  EXPECT_EQ(whole.at("model").as_string(), "tiny");
  // The same request again: the same bits.
  const Json again =
      server.post("/v1/chat/completions", chat(R"("model":"tiny","max_tokens":12)")).json();
  EXPECT_EQ(whole.at("choices"), again.at("choices"));
  const HttpAnswer stream =
      server.post("/v1/chat/completions", chat(R"("max_tokens":12,"stream":true)"));
  EXPECT_EQ(events_of(stream.body).back(), Json("[DONE]"));
  EXPECT_EQ(server.post("/v1/chat/completions", chat(R"("model":"other")")).status, 404);
  EXPECT_EQ(server.post("/v1/chat/completions", chat(R"("top_p":7)")).status, 400);
  EXPECT_NE(server.get("/metrics").body.find("dure_generation_tokens_total"), std::string::npos);
  server.signal(SIGTERM);
  EXPECT_EQ(server.wait(), 0) << server.said();
  EXPECT_NE(server.said().find("\"POST /v1/chat/completions\" 200"), std::string::npos);
}

// serve.yaml says what the command line would; the command line wins.
TEST_F(Serve, OptionsFromAFile) {
  const std::string file = at("serve.yaml");
  write_file(file, "model: '" + at("model") +
                       "'\ncontext: 512\nmax-sequences: 3\nmodel-name: [one, two]\n"
                       "access-log: true\nno-metrics: false\nno-thinking: true\n"
                       "reasoning-field: reasoning\nport: 1\n");
  {
    Served server("", "--config '" + file + "' --max-sequences=2");
    EXPECT_EQ(server.get("/slots").json().size(), 2U);
    const Json models = server.get("/v1/models").json().at("data");
    ASSERT_EQ(models.size(), 2U);
    EXPECT_EQ(models.at(size_t{1}).at("id").as_string(), "two");
    EXPECT_EQ(models.at(size_t{0}).at("max_model_len").as_int(), 512);
    EXPECT_EQ(server.get("/metrics").status, 200);
    EXPECT_NE(server.said().find("\"GET /slots\" 200"), std::string::npos);
  }
  const auto refused = [&](const std::string& text, const char* why) {
    write_file(file, text);
    expect_refusal(run_program("serve '" + at("model") + "' --port 0 --config '" + file + "'"),
                   why);
  };
  refused("contxt: 512", "contxt: no option of `dure serve`; did you mean '--context'?");
  refused("context: [1, 2]", "context: takes one value, not a list");
  refused("context: {a: 1}", "context: give a text, a number, or a list of them, not an object");
  refused("access-log: perhaps", "access-log");
  refused("context: many", "--context");
  refused("- context", "serve.yaml");
  refused("config: other.yaml", "config: no option");
  expect_refusal(run_program("serve --config no.yaml"), "no.yaml");
  write_file(file, "context: 512");
  expect_refusal(run_program("serve --config '" + file + "'"), "MODEL is required");
}

TEST_F(Serve, ListensAtASocketInTheFileSystem) {
  const std::string socket = at("dure.sock");
  Served server(at("model"), "--context 256 --max-sequences 1 --host 'unix:" + socket + "'");
  EXPECT_NE(server.said().find("--unix-socket '" + socket + "'"), std::string::npos);
  LoopbackClient client(socket);
  const HttpAnswer answer = client.ask(http_post("/v1/chat/completions", chat(R"("max_tokens":2)"),
                                                 "Origin: http://localhost:3000\r\n"));
  EXPECT_EQ(answer.status, 200) << answer.body;
  server.signal(SIGTERM);
  EXPECT_EQ(server.wait(), 0);
  EXPECT_FALSE(path_exists(socket));
}

TEST_F(Serve, AnswersInAFormAndForcedCalls) {
  Served server(at("model"), "--context 512 --max-sequences 4 --draft 0");
  const auto choice_of = [&](const std::string& more) {
    const HttpAnswer answer =
        server.post("/v1/chat/completions", chat(R"("enable_thinking":false,)" + more));
    EXPECT_EQ(answer.status, 200) << answer.body;
    return answer.json().at("choices").at(size_t{0});
  };
  const Json form = choice_of(
      R"("response_format":{"type":"json_schema","json_schema":{"name":"x","schema":{"type":"object","properties":{"n":{"type":"integer","minimum":0,"maximum":99}},"required":["n"]}}})");
  EXPECT_LE(parse_json(form.at("message").at("content").as_string(), "answer").at("n").as_int(),
            99);
  const std::string tools =
      R"("tools":[{"type":"function","function":{"name":"add","parameters":{"type":"object","properties":{"a":{"type":"integer","minimum":0,"maximum":9}},"required":["a"]}}}],"parallel_tool_calls":false,)";
  for (const char* forced : {R"("required")", R"({"type":"function","function":{"name":"add"}})"}) {
    const Json call = choice_of(tools + R"("tool_choice":)" + forced);
    EXPECT_EQ(call.at("message").at("tool_calls").at(size_t{0}).at("function").at("name"),
              Json("add"))
        << call.dump();
  }
  const HttpAnswer refused = server.post(
      "/v1/chat/completions", chat(R"("guided_json":{"type":"array","uniqueItems":true})"));
  EXPECT_EQ(refused.status, 400);
  EXPECT_NE(refused.body.find("#/uniqueItems"), std::string::npos) << refused.body;
}

TEST_F(Serve, DraftsAreToldAndChangeNothing) {
  const std::string asked =
      chat(R"("max_tokens":60,"ignore_eos":true,"seed":5,"temperature":1,"frequency_penalty":0.1)");
  Json plain;
  for (const char* way : {"", " --draft auto", " --draft 3 --drafter auto", " --drafter ngram"}) {
    Served server(at("model"),
                  std::string("--context 512 --max-sequences 4 --metrics-compat vllm") + way);
    const HttpAnswer answer = server.post("/v1/chat/completions", asked);
    ASSERT_EQ(answer.status, 200) << answer.body;
    if (plain.is_null()) plain = answer.json();
    EXPECT_EQ(answer.json().at("choices"), plain.at("choices")) << way;
    const std::string page = server.get("/metrics").body;
    const auto value = [&](const std::string& name) {
      const size_t at = page.find("\n" + name);
      return at == std::string::npos ? -1.0 : std::stod(page.substr(page.find("} ", at) + 2));
    };
    const Json timings = answer.json().at("timings");
    const double drafted =
        timings.contains("draft_n") ? static_cast<double>(timings.at("draft_n").as_int()) : 0;
    EXPECT_EQ(value("vllm:spec_decode_num_draft_tokens_total{"), drafted) << way;
    EXPECT_EQ(value("dure_spec_decode_chosen_length_total{") > 0, drafted > 0) << page;
    if (std::string(way).find('3') == std::string::npos) continue;
    EXPECT_GT(drafted, 0);
    EXPECT_GT(value("vllm:spec_decode_num_drafts_total{"), 0);
    EXPECT_NE(page.find("position=\"0\"} "), std::string::npos) << page;
    EXPECT_NE(page.find("drafter=\"mtp\"} "), std::string::npos) << page;
    EXPECT_LE(timings.at("draft_n_accepted").as_int(), timings.at("draft_n").as_int());
  }
}

TEST_F(Serve, ASignalLetsAnswersEndAndASecondDoesNot) {
  for (const bool twice : {false, true}) {
    Served server(at("model"), "--max-sequences 1");
    LoopbackClient client(server.port());
    client.send(
        http_post("/v1/chat/completions",
                  chat(fmt::format(R"("max_tokens":{},"n":{},"ignore_eos":true,"stream":true)",
                                   twice ? 2000 : 600, twice ? 16 : 1))));
    ASSERT_TRUE(client.receive_until("reasoning_content")) << client.received();
    server.signal(SIGTERM);
    if (twice) {
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
      server.signal(SIGTERM);
      EXPECT_EQ(server.wait(), 143);
      continue;
    }
    const HttpAnswer answer = client.answer();
    EXPECT_TRUE(answer.whole);
    EXPECT_NE(answer.body.find("[DONE]"), std::string::npos);
    client.close();
    EXPECT_EQ(server.wait(), 0) << server.said();
  }
}

TEST_F(Serve, AnswersThatTakeTooLongAreCut) {
  Served server(at("model"), "--max-sequences 1 --drain-seconds 0");
  LoopbackClient client(server.port());
  client.send(http_post("/v1/chat/completions", chat(R"("ignore_eos":true,"stream":true)")));
  ASSERT_TRUE(client.receive_until("reasoning_content"));
  server.signal(SIGINT);
  EXPECT_EQ(server.wait(), 0) << server.said();
  EXPECT_NE(server.said().find("were cut"), std::string::npos);
}

TEST_F(Serve, KeysComeFromFlagsFilesAndTheEnvironment) {
  const std::string file = at("keys.txt");
  write_file(file, "# of the team\nfrom-file\n\n");
  ::setenv("DURE_API_KEY", "from-environment", 1);
  Served server(
      at("model"),
      "--context 256 --max-sequences 1 --api-key from-flag --api-key-file '" + file + "'");
  ::unsetenv("DURE_API_KEY");
  EXPECT_EQ(server.get("/v1/models").status, 401);
  for (const char* key : {"from-flag", "from-file", "from-environment"}) {
    EXPECT_EQ(LoopbackClient(server.port())
                  .ask(http_get("/v1/models", fmt::format("Authorization: Bearer {}\r\n", key)))
                  .status,
              200)
        << key;
  }
}

TEST_F(Serve, ATemplateOfTheOperatorsOwn) {
  write_file(at("own.jinja"), "<{{ messages[0].content }}>");
  Served server(at("model"),
                "--context 256 --max-sequences 1 --chat-template '" + at("own.jinja") + "'");
  EXPECT_EQ(
      server.post("/apply-template", chat(R"("max_tokens":1)")).json().at("prompt").as_string(),
      "<the village>");
  expect_refusal(run_program("serve '" + at("model") + "' --port 0 --chat-template no.jinja"),
                 "no.jinja");
}

// The conversation goes on after a restart: with what was kept, and the bits of a server without.
TEST_F(Serve, PrefixesOutliveTheServer) {
  const std::string flags = "--context 512 --max-sequences 4",
                    file = " --prefix-file '" + at("prefixes.kv") + "'";
  const auto ask = [](const Served& server, const std::string& more) {
    std::string text = "the village shares its work";
    for (int i = 0; i < 6; ++i) text += " and its village shares the work";
    const HttpAnswer answer = server.post(
        "/v1/chat/completions",
        R"({"messages":[{"role":"user","content":")" + text + more +
            R"("}],"seed":1,"max_tokens":20,"ignore_eos":true,"logprobs":true,"top_logprobs":2})");
    EXPECT_EQ(answer.status, 200) << answer.body;
    return answer.json();
  };
  const auto cached = [](const Json& answer) {
    return answer.at("usage").at("prompt_tokens_details").at("cached_tokens").as_int();
  };
  std::vector<Json> cold;
  for (const char* more : {"", " in winter", " in spring"}) {
    Served server(at("model"), flags);
    cold.push_back(ask(server, more));
    EXPECT_EQ(cached(cold.back()), 0);
  }
  {
    Served server(at("model"), flags + file);
    EXPECT_NE(server.said().find("not there yet"), std::string::npos);
    EXPECT_EQ(ask(server, "").at("choices"), cold[0].at("choices"));
    server.signal(SIGTERM);
    EXPECT_EQ(server.wait(), 0);
    EXPECT_NE(server.said().find("prefixes written"), std::string::npos) << server.said();
  }
  Served server(at("model"), flags + file);
  const Json again = ask(server, "");
  EXPECT_GT(cached(again), 40);
  EXPECT_EQ(again.at("choices"), cold[0].at("choices"));
  // The first one that parts from it leaves a snapshot there, the second one finds it.
  EXPECT_EQ(ask(server, " in winter").at("choices"), cold[1].at("choices"));
  const Json other = ask(server, " in spring");
  EXPECT_GT(cached(other), 40);
  EXPECT_EQ(other.at("choices"), cold[2].at("choices"));
  server.signal(SIGTERM);
  EXPECT_EQ(server.wait(), 0);
  // Another's is refused before anything is answered, and stays as it is.
  const std::string before = read_file(at("prefixes.kv"));
  const auto refused = [&](const std::string& model, const std::string& more, const char* why) {
    expect_refusal(run_program("serve '" + model + "' --port 0 " + flags + file + more), why);
    EXPECT_EQ(read_file(at("prefixes.kv")), before);
  };
  refused(at("model"), " --kv-type bf16", "another type");
  refused(at("model"), " --draft 1", "made without drafts");
  copy_with_context("longer", 4096);
  refused(at("longer"), "", "made with another model");
  expect_refusal(run_program("serve '" + at("model") + "' --port 0 --prefix-file no/folder/x"),
                 "no/folder");
}

TEST_F(Serve, WhatCannotBeServedIsOneLine) {
  const std::string model = "'" + at("model") + "'";
  expect_refusal(run_program("serve no/such/model --port 0"), "give a model's folder");
  expect_refusal(run_program("serve nanoo --port 0"), "./dev quickstart");
  expect_refusal(run_program("serve " + model + " --port 0 --max-sequences 100000000"),
                 "lower --max-sequences");
  write_file(at("empty.gguf"), "");
  expect_refusal(run_program("serve '" + at("empty.gguf") + "' --port 0"), "an empty file");
  expect_refusal(run_program("serve '" + at("bare") + "' --port 0"), "no tokenizer");
  expect_refusal(run_program("serve " + model + " --port 70000"), "--port 70000");
  expect_refusal(run_program("serve " + model + " --port 0 --host no.such.invalid"), "--host");
  expect_refusal(run_program("serve " + model + " --port 0 --max-sequences 0"), "--max-sequences");
  expect_refusal(run_program("serve " + model + " --port 0 --draft 100"), "--draft");
  expect_refusal(run_program("serve " + model + " --port 0 --tls-key x"), "TLS");
  expect_refusal(run_program("serve " + model + " --port 0 --context 1"), "--context 1");
  write_file(at("empty.txt"), "# none\n");
  expect_refusal(
      run_program("serve " + model + " --port 0 --api-key-file '" + at("empty.txt") + "'"),
      "holds no key");
  Served server(at("model"), "--context 256 --max-sequences 1");
  expect_refusal(run_program(fmt::format("serve {} --port {}", model, server.port())),
                 "the port is taken");
}

}  // namespace
}  // namespace dure
