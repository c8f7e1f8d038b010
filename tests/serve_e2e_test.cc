// `dure serve` as a process: what it prints, how it answers, what a signal does, and what it
// refuses before it starts.
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "program.h"
#include "server/loopback_client.h"
#include "server/server_fixture.h"
#include "tiny_model.h"

namespace dure {
namespace {

// A server in a process of its own, at a port that was free.
class Served {
 public:
  Served(const std::string& model, const std::string& flags)
      : out_((folder_.path() / "out").string()) {
    const std::string command = "exec env DURE_LOG=info DURE_PROGRESS=off '" DURE_BINARY
                                "' serve '" +
                                model + "' --port 0 " + flags + " > '" + out_ + "' 2>&1";
    pid_ = ::fork();
    if (pid_ == 0) {
      ::execl("/bin/sh", "sh", "-c", command.c_str(), static_cast<char*>(nullptr));
      ::_exit(99);
    }
    for (int i = 0; i < 2000 && port_ == 0; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      const std::string text = said();
      const size_t at = text.find("  page  http://127.0.0.1:");
      if (at != std::string::npos && text.find('\n', at) != std::string::npos)
        port_ = std::atol(text.c_str() + at + std::string_view("  page  http://127.0.0.1:").size());
      if (::waitpid(pid_, &status_, WNOHANG) != 0) break;
    }
    EXPECT_GT(port_, 0) << said();
  }
  ~Served() {
    if (!ended_) ::kill(pid_, SIGKILL);
    wait();
  }
  std::string said() const { return path_exists(out_) ? read_file(out_) : ""; }
  int64_t port() const { return port_; }
  void signal(int number) const { ::kill(pid_, number); }
  int wait() {  // The exit code; 1000 where a signal ended it.
    if (!ended_) ::waitpid(pid_, &status_, 0);
    ended_ = true;
    return WIFEXITED(status_) ? WEXITSTATUS(status_) : 1000;
  }
  HttpAnswer get(std::string_view path) const { return LoopbackClient(port_).ask(http_get(path)); }
  HttpAnswer post(std::string_view path, std::string_view body, std::string_view more = "") const {
    return LoopbackClient(port_).ask(http_post(path, body, more));
  }

 private:
  TemporaryFolder folder_;
  std::string out_;
  pid_t pid_ = 0;
  int status_ = 0;
  int64_t port_ = 0;
  bool ended_ = false;
};

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

TEST_F(Serve, WhatCannotBeServedIsOneLine) {
  expect_refusal(run_program("serve no/such/model --port 0"), "no/such/model");
  expect_refusal(run_program("serve '" + at("bare") + "' --port 0"), "no tokenizer");
  const std::string model = "'" + at("model") + "'";
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
