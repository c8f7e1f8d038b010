// `dure chat ADDRESS`: a conversation with a live server, from a terminal and from a pipe; what it
// says where nothing answers, a key is missing, or something else answers.
#include <atomic>
#include <mutex>
#include <thread>

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

// A server whose answers never end: a word every few milliseconds, until the client leaves.
class Babbler {
 public:
  Babbler() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(::listen(fd_, 4), 0);
    socklen_t size = sizeof(address);
    ::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] {
      for (int client; (client = ::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC)) >= 0;) {
        serve(client);
        ::close(client);
      }
    });
  }
  ~Babbler() {
    ::shutdown(fd_, SHUT_RDWR);
    thread_.join();
    ::close(fd_);
  }
  int64_t port() const { return port_; }
  int left() const { return left_; }  // clients that left in the middle of an answer
  std::string last_request() {
    const std::lock_guard lock(mutex_);
    return request_;
  }

 private:
  static bool send(int client, const std::string& bytes) {
    return ::send(client, bytes.data(), bytes.size(), MSG_NOSIGNAL) == std::ssize(bytes);
  }
  void serve(int client) {
    std::string request(1 << 16, '\0');
    request.resize(static_cast<size_t>(
        std::max<ssize_t>(0, ::recv(client, request.data(), request.size(), 0))));
    if (request.starts_with("GET /v1/models")) {
      send(client,
           "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 23\r\n\r\n"
           R"({"data":[{"id":"bab"}]})");
      return;
    }
    {
      const std::lock_guard lock(mutex_);
      request_ = request;
    }
    send(client, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: ping\n\n");
    const char* field = "reasoning_content";
    for (int i = 0;
         send(client,
              fmt::format(
                  "data: {{\"choices\":[{{\"delta\":{{\"{}\":\"마을{} \\u001b[31m\"}}}}]}}\n\n",
                  field, i));
         ++i) {
      if (i == 3) field = "content";
      ::usleep(3000);
    }
    ++left_;
  }

  int fd_;
  int64_t port_ = 0;
  std::atomic<int> left_ = 0;
  std::mutex mutex_;
  std::string request_;
  std::thread thread_;
};

TEST_F(ChatRemote, ATerminalStreamsAndStops) {
  Babbler server;
  Terminal terminal({"chat", fmt::format("http://127.0.0.1:{}", server.port())});
  terminal.wait_for("bab at http://127.0.0.1:");
  for (const char* question : {"the 마을", "\033[200~and\ragain\033[201~"}) {
    const int left = server.left();
    terminal.wait_for(kReady);
    terminal.type(std::string(question) + "\r");
    terminal.wait_for("\033[2m마을0");  // Reasoning, dim.
    terminal.wait_for("\r\n마을");      // Content, on a line of its own.
    terminal.type("\x03");
    terminal.wait_for("(stopped)");
    for (int i = 0; i < 2000 && server.left() == left; ++i) ::usleep(5000);
    EXPECT_EQ(server.left(), left + 1);  // It was let go at once.
  }
  EXPECT_NE(server.last_request().find("마을"), std::string::npos);  // of the first question
  EXPECT_EQ(server.last_request().find("temperature"), std::string::npos);
  terminal.wait_for(kReady);
  terminal.type("/show\r");
  const std::string shown = terminal.wait_for(kReady);
  EXPECT_NE(shown.find("[user] the 마을"), std::string::npos) << shown;
  EXPECT_NE(shown.find("[user] and"), std::string::npos) << shown;
  terminal.type("exit\r");
  terminal.rest();
  EXPECT_EQ(terminal.exit_code(), 0);
}

TEST_F(ChatRemote, SaysWhatIsWrong) {
  expect_refusal(run_program("chat http://127.0.0.1:1"), "Connection refused");
  expect_refusal(run_program("chat http://"), "names no host");
  expect_refusal(run_program("chat localhost:8000/v1"), "begin an address with http://");
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
