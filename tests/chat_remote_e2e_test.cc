// `dure chat ADDRESS`: a conversation with a live server, from a terminal and from a pipe; what it
// says where nothing answers, a key is missing, or something else answers.
#include "server/server_fixture.h"
#include "terminal.h"
#include "tiny_model.h"

namespace dure {
namespace {

class ChatRemote : public TinyModel {
 protected:
  static std::string address(const TestServer& server, const char* path = "") {
    return fmt::format("http://127.0.0.1:{}{}", server.port(), path);
  }
};

TEST_F(ChatRemote, AnswersAsTheServerDoes) {
  TestServer server(at("model"), {});
  const Json asked =
      server
          .post("/v1/chat/completions",
                R"({"messages":[{"role":"user","content":"the work?"}],"max_tokens":5,
                                   "temperature":0,"enable_thinking":false})")
          .json();
  const std::string said =
      asked.at("choices").at(size_t{0}).at("message").at("content").as_string();
  for (const char* path : {"", "/", "/v1", "/v1/", "/v1/chat/completions"}) {
    const Outcome out =
        run_program("chat " + address(server, path) + " -n 5 --temperature 0 --no-thinking",
                    {.input = "the work?\n"});
    EXPECT_EQ(out.code, 0) << out.error;
    EXPECT_EQ(out.out, said + "\n");
  }
  // Its own reasoning, dim only on a terminal; a second question sees the first.
  const Outcome two = run_program("chat " + address(server) + " --model alias/of/it -n 5",
                                  {.input = "the work?\n/stats\nthe village\n/show\n"});
  EXPECT_EQ(two.code, 0) << two.error;
  EXPECT_NE(two.out.find("1 answers, 5 tokens"), std::string::npos) << two.out;
  EXPECT_EQ(server.engine().statistics().waiting, 0);
}

TEST_F(ChatRemote, ATerminalStreamsAndStops) {
  TestServer server(at("model"),
                    {.context_tokens = 100000, .sequences_max = 1, .page_count = 2000});
  Terminal terminal({"chat", address(server), "--no-history"});
  terminal.wait_for("nano at http://127.0.0.1:");
  for (const char* question : {"the 마을", "\033[200~and\ragain\033[201~"}) {
    terminal.wait_for(kReady);
    terminal.type("/set max_tokens 90000\r");
    terminal.wait_for("max_tokens 90000");
    terminal.wait_for(kReady);
    terminal.type(std::string(question) + "\r");
    terminal.wait_for("\033[2m");  // Reasoning, dim.
    terminal.type("\x03");
    terminal.wait_for("(stopped)");
    // The server has given it up.
    for (int i = 0; i < 2000 && server.engine().statistics().generator.running > 0; ++i)
      ::usleep(5000);
    EXPECT_EQ(server.engine().statistics().generator.running, 0);
  }
  terminal.wait_for(kReady);
  terminal.type("/show\r");
  terminal.wait_for("[user] the 마을");
  terminal.wait_for("[user] and");
  terminal.wait_for(kReady);
  terminal.type("exit\r");
  terminal.rest();
  EXPECT_EQ(terminal.exit_code(), 0);
}

TEST_F(ChatRemote, SaysWhatIsWrong) {
  expect_refusal(run_program("chat http://127.0.0.1:1"), "Connection refused");
  expect_refusal(run_program("chat http://"), "names no host");
  expect_refusal(run_program("chat http://127.0.0.1:99999"), "is no port");
  TestServer server(at("model"), {.api = {.keys = {"secret"}}});
  expect_refusal(run_program("chat " + address(server)), "wants a key: set DURE_API_KEY");
  const ProgramOptions wrong{.environment = "DURE_API_KEY=other"};
  expect_refusal(run_program("chat " + address(server), wrong), "the one given is none of its");
  expect_refusal(run_program("chat " + address(server, "/nothing")), "is the address right");
  expect_refusal(run_program("chat " + address(server) + " -c 5"), "--context: is for a model");
  expect_refusal(run_program("chat " + at("model") + " --model x"), "--model x: is for an address");
  const std::string right = "DURE_API_KEY=secret";
  const Outcome unknown = run_program("chat " + address(server) + " --model other",
                                      {.input = "x\n", .environment = right});
  EXPECT_EQ(unknown.code, 2);
  EXPECT_NE(unknown.error.find("The model `other` does not exist"), std::string::npos)
      << unknown.error;
  const Outcome good =
      run_program("chat " + address(server) + " -n 2", {.input = "x\n", .environment = right});
  EXPECT_EQ(good.code, 0) << good.error;
}

TEST_F(ChatRemote, CertificatesAreChecked) {
  const std::string key = (folder_->path() / "key.pem").string(),
                    certificate = (folder_->path() / "certificate.pem").string();
  const std::string make =
      "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost "
      "-addext subjectAltName=DNS:localhost -keyout '" +
      key + "' -out '" + certificate + "' 2> /dev/null";
  if (std::system(make.c_str()) != 0) GTEST_SKIP() << "no openssl program";
  TestServer server(at("model"), {.http = {.tls_certificate = certificate, .tls_key = key}});
  const std::string verb = fmt::format("chat https://localhost:{} -n 2", server.port());
  const Outcome stranger = run_program(verb, {.input = "x\n"});
  EXPECT_EQ(stranger.code, 2);
  EXPECT_NE(stranger.error.find("certificate"), std::string::npos) << stranger.error;
  const std::string trusted = "SSL_CERT_FILE='" + certificate + "'";
  const Outcome known = run_program(verb, {.input = "x\n", .environment = trusted});
  EXPECT_EQ(known.code, 0) << known.error;
  // Another name than the certificate's.
  const Outcome other = run_program(fmt::format("chat https://127.0.0.1:{} -n 2", server.port()),
                                    {.input = "x\n", .environment = trusted});
  EXPECT_EQ(other.code, 2);
}

}  // namespace
}  // namespace dure
