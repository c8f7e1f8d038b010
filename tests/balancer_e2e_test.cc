// Two replicas behind nginx with the shipped configuration (deploy/nginx/dure.conf, its addresses
// replaced): conversations stay where their prefix is; a replica that dies takes its open streams
// with it and nothing else; one that ends lets them end. Skipped where there is no nginx.
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <memory>
#include <set>
#include <thread>

#include "base/json.h"
#include "served.h"
#include "tiny_model.h"

namespace dure {
namespace {

bool nginx_is_there() { return std::system("nginx -v > /dev/null 2>&1") == 0; }

int64_t free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  ::bind(fd, reinterpret_cast<sockaddr*>(&address), size);
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  ::close(fd);
  return ntohs(address.sin_port);
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from << " is not in the shipped configuration";
  if (at != std::string::npos) text.replace(at, from.size(), to);
  return text;
}

// nginx in a process of its own; its log says which replica answered what.
class Nginx {
 public:
  Nginx(int64_t first, int64_t second) : port_(free_port()) {
    const std::string here = folder_.path().string();
    std::string site = read_file(DURE_SOURCE_DIR "/deploy/nginx/dure.conf");
    site += read_file(DURE_SOURCE_DIR "/deploy/nginx/replicas.conf");
    site = replaced(site, "127.0.0.1:8001", fmt::format("127.0.0.1:{}", first));
    site = replaced(site, "127.0.0.1:8002", fmt::format("127.0.0.1:{}", second));
    site = replaced(site, "listen 8080", fmt::format("listen 127.0.0.1:{}", port_));
    site = replaced(site, "/var/log/nginx/dure.log", here + "/access.log");
    write_file(here + "/site.conf", site);
    std::string main = ::geteuid() == 0 ? "user root;\n" : "";
    main += fmt::format(
        "daemon off;\npid {0}/pid;\nerror_log {0}/error.log;\n"
        "events {{}}\nhttp {{\n  client_body_temp_path {0}/b;\n  proxy_temp_path {0}/p;\n"
        "  fastcgi_temp_path {0}/f;\n  uwsgi_temp_path {0}/u;\n  scgi_temp_path {0}/s;\n"
        "  include {0}/site.conf;\n}}\n",
        here);
    write_file(here + "/nginx.conf", main);
    const std::string command = "exec nginx -e '" + here + "/error.log' -c '" + here +
                                "/nginx.conf' > '" + here + "/out' 2>&1";
    pid_ = ::fork();
    if (pid_ == 0) {
      ::execl("/bin/sh", "sh", "-c", command.c_str(), static_cast<char*>(nullptr));
      ::_exit(99);
    }
    for (int i = 0; i < 500 && !LoopbackClient(port_).connected(); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  ~Nginx() {
    ::kill(pid_, SIGTERM);
    ::waitpid(pid_, nullptr, 0);
  }
  int64_t port() const { return port_; }
  std::string errors() const { return read_file(folder_.path() / "error.log"); }
  // The replica that gave the answer to the request of that id: the last that was asked.
  int64_t replica_of(const std::string& id) const {
    for (int i = 0; i < 200; ++i) {  // It logs once its last byte is taken.
      const std::string log = read_file(folder_.path() / "access.log");
      const size_t end = log.find(" id=" + id + "\n");
      if (end != std::string::npos) {
        const size_t line = log.rfind('\n', end) + 1;
        const size_t at = log.find("replica=", line);
        const std::string tried = log.substr(at, log.find(" answers=", at) - at);
        return std::atol(tried.c_str() + tried.rfind(':') + 1);
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    ADD_FAILURE() << id << " is not in nginx's log";
    return 0;
  }

 private:
  TemporaryFolder folder_;
  int64_t port_;
  pid_t pid_ = 0;
};

std::string words(int conversation) {
  std::string out = fmt::format("the village {} shares its \\\"work\\\"", conversation);
  for (int i = 0; i < 12; ++i) out += " and its village shares the work";
  return out;
}

std::string message(const char* role, const std::string& content) {
  return fmt::format(R"({{"role":"{}","content":"{}"}})", role, content);
}

std::string chat(const std::string& messages, const std::string& more) {
  return fmt::format(R"({{"messages":[{}],{}}})", messages, more);
}

class Balancer : public TinyModel {
 protected:
  void SetUp() override {
    if (!nginx_is_there()) GTEST_SKIP() << "there is no nginx (apt-get install nginx-light)";
    if (!path_exists(at("long"))) copy_with_context("long", 8192);
    for (auto& replica : replicas_) replica = start(0);
    nginx_ = std::make_unique<Nginx>(replicas_[0]->port(), replicas_[1]->port());
  }
  static std::unique_ptr<Served> start(int64_t port) {
    return std::make_unique<Served>(at("long"), "--threads 1 --max-sequences 32 --no-thinking",
                                    port);
  }
  HttpAnswer post(const std::string& path, const std::string& body, const std::string& id,
                  const std::string& more = "") const {
    return LoopbackClient(nginx_->port())
        .ask(http_post(path, body, fmt::format("X-Request-Id: {}\r\n{}", id, more)));
  }
  // Where a conversation is, by its first turn; `turn` only names the request.
  int64_t place(int conversation, const std::string& turn) const {
    const std::string id = fmt::format("{}-{}", turn, conversation);
    const HttpAnswer answer =
        post("/v1/chat/completions",
             chat(message("user", words(conversation)), R"("max_tokens":1,"ignore_eos":true)"), id);
    EXPECT_EQ(answer.status, 200) << answer.body;
    return nginx_->replica_of(id);
  }
  Served& at_port(int64_t port) const { return *replicas_[replicas_[0]->port() == port ? 0 : 1]; }

  std::unique_ptr<Served> replicas_[2];
  std::unique_ptr<Nginx> nginx_;
};

TEST_F(Balancer, ConversationsStayWhereTheirPrefixIs) {
  std::map<int64_t, int> conversations;
  int64_t prompt = 0, cached = 0;
  for (int c = 0; c < 16; ++c) {
    std::string messages = message("system", "be brief") + "," + message("user", words(c));
    std::set<int64_t> places;
    for (int turn = 0; turn < 3; ++turn) {
      const std::string id = fmt::format("c{}-{}", c, turn);
      const HttpAnswer answer =
          post("/v1/chat/completions",
               chat(messages, R"("max_tokens":8,"ignore_eos":true,"temperature":0)"), id);
      ASSERT_EQ(answer.status, 200) << answer.body;
      places.insert(nginx_->replica_of(id));
      const Json usage = answer.json().at("usage");
      const int64_t found = usage.at("prompt_tokens_details").at("cached_tokens").as_int();
      if (turn > 0) {
        prompt += usage.at("prompt_tokens").as_int();
        cached += found;
        EXPECT_GT(found, 40) << id;
      }
      messages += "," + message("assistant", "the work") + "," + message("user", "and then?");
    }
    EXPECT_EQ(places.size(), 1U);
    ++conversations[*places.begin()];
  }
  EXPECT_EQ(conversations.size(), 2U);
  std::printf(
      "balancer: 16 conversations, %d and %d a replica; %lld of %lld tokens of later turns found\n",
      conversations.begin()->second, conversations.rbegin()->second, static_cast<long long>(cached),
      static_cast<long long>(prompt));
}

// Every way to say which conversation a request belongs to, and the forms of a first message.
TEST_F(Balancer, TheKeyIsFoundWhereverItStands) {
  const std::string path = "/v1/chat/completions", end = R"("max_tokens":1)";
  const auto places = [&](const char* name, auto&& ask) {
    std::map<int64_t, int> out;
    for (int i = 0; i < 12; ++i) {
      const std::string id = fmt::format("{}-{}", name, i);
      EXPECT_EQ(ask(i, id).status, 200) << id;
      ++out[nginx_->replica_of(id)];
    }
    return out.size();
  };
  for (const char* header : {"X-Conversation-Id", "X-Session-Id"}) {
    EXPECT_EQ(places(header,
                     [&](int i, const std::string& id) {
                       return post(path, chat(message("user", fmt::format("work {}", i)), end), id,
                                   fmt::format("{}: one\r\n", header));
                     }),
              1U)
        << header;
  }
  EXPECT_EQ(places("cache-key",
                   [&](int i, const std::string& id) {
                     return post(path,
                                 chat(message("user", fmt::format("work {}", i)),
                                      R"("prompt_cache_key" : "one",)" + end),
                                 id);
                   }),
            1U);
  EXPECT_EQ(
      places("quoted",
             [&](int i, const std::string& id) {  // Inside a text it is no key.
               return post(
                   path,
                   chat(message("user", fmt::format(R"({} \"prompt_cache_key\":\"one\")", i)), end),
                   id);
             }),
      2U);
  EXPECT_EQ(
      places("parts",
             [&](int i, const std::string& id) {
               return post(
                   path,
                   chat(R"({"role":"user","content":[{"type":"text","text":"one village"}]},)" +
                            message("assistant", fmt::format("work {}", i)) + "," +
                            message("user", "go on"),
                        end),
                   id);
             }),
      1U);
  EXPECT_EQ(places("messages",
                   [&](int i, const std::string& id) {
                     return post("/v1/messages",
                                 chat(message("user", "one village") + "," +
                                          message("assistant", fmt::format("work {}", i)) + "," +
                                          message("user", "go on"),
                                      end),
                                 id);
                   }),
            1U);
  EXPECT_EQ(places("none",
                   [&](int i, const std::string& id) {
                     return post("/v1/completions", R"({"prompt":"the village","max_tokens":1})",
                                 id);
                   }),
            2U);
  EXPECT_EQ(nginx_->errors().find("[error]"), std::string::npos) << nginx_->errors();
}

struct Told {
  HttpAnswer answer;
  bool done() const { return answer.whole && answer.body.ends_with("data: [DONE]\n\n"); }
};

// Streams of `count` conversations, all at work when `then` is called.
std::vector<Told> streams(int64_t port, int count, int64_t tokens,
                          const std::function<void()>& then) {
  std::vector<Told> out(count);
  std::vector<std::thread> clients;
  std::atomic<int> begun = 0;
  for (int c = 0; c < count; ++c) {
    clients.emplace_back([&, c] {
      LoopbackClient client(port);
      client.send(
          http_post("/v1/chat/completions",
                    chat(message("user", words(c)),
                         fmt::format(R"("stream":true,"ignore_eos":true,"max_tokens":{})", tokens)),
                    fmt::format("X-Request-Id: stream-{}\r\n", c)));
      client.receive_until("\"content\":\"", 60);
      ++begun;
      out[c].answer = client.answer();
    });
  }
  for (int i = 0; i < 6000 && begun < count; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  then();
  for (std::thread& client : clients) client.join();
  return out;
}

TEST_F(Balancer, AReplicaThatDiesTakesItsOpenStreamsAlone) {
  constexpr int kStreams = 12;
  std::vector<int64_t> places;
  for (int c = 0; c < kStreams; ++c) places.push_back(place(c, "before"));
  const int64_t dying = places[0];
  // One answer that nobody has seen anything of: it is asked for again at the other replica.
  HttpAnswer unseen;
  std::thread whole;
  const std::vector<Told> told = streams(nginx_->port(), kStreams, 1500, [&] {
    whole = std::thread([&] {
      unseen =
          post("/v1/chat/completions",
               chat(message("user", words(0)), R"("max_tokens":1500,"ignore_eos":true)"), "unseen");
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    at_port(dying).signal(SIGKILL);
    for (int c = 0; c < kStreams; ++c) EXPECT_NE(place(c, "after"), dying);
  });
  whole.join();
  EXPECT_EQ(unseen.status, 200) << unseen.body;
  EXPECT_NE(nginx_->replica_of("unseen"), dying);
  int broken = 0;
  for (int c = 0; c < kStreams; ++c) {
    EXPECT_EQ(told[c].answer.status, 200);
    EXPECT_EQ(told[c].done(), places[c] != dying) << c;
    // What broke off says so: no end of the body, no [DONE], nothing that reads as an answer's end.
    if (told[c].done()) continue;
    ++broken;
    EXPECT_FALSE(told[c].answer.whole);
    EXPECT_EQ(told[c].answer.body.find("\"finish_reason\":\"length\""), std::string::npos);
  }
  std::printf(
      "balancer: %d of %d streams broke with their replica, no other; 13 requests after it "
      "answered\n",
      broken, kStreams);
  // It comes back at its address, and its conversations with it.
  at_port(dying).wait();
  std::unique_ptr<Served>& place_of = replicas_[replicas_[0]->port() == dying ? 0 : 1];
  place_of = nullptr;
  place_of = start(dying);
  for (int c = 0; c < kStreams; ++c) EXPECT_EQ(place(c, "again"), places[c]);
}

TEST_F(Balancer, AReplicaThatEndsLetsItsStreamsEnd) {
  constexpr int kStreams = 8;
  std::vector<int64_t> places;
  for (int c = 0; c < kStreams; ++c) places.push_back(place(c, "before"));
  const std::vector<Told> told = streams(nginx_->port(), kStreams, 800, [&] {
    at_port(places[0]).signal(SIGTERM);
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    for (int c = 0; c < kStreams; ++c) EXPECT_NE(place(c, "after"), places[0]);
  });
  for (const Told& one : told) EXPECT_TRUE(one.done());
  EXPECT_EQ(at_port(places[0]).wait(), 0);
}

TEST_F(Balancer, WhereNoneAnswersClientsAreToldToComeBack) {
  for (const auto& replica : replicas_) {
    replica->signal(SIGKILL);
    replica->wait();
  }
  const std::string body = chat(message("user", "one"), R"("max_tokens":1)");
  const HttpAnswer openai = post("/v1/chat/completions", body, "openai");
  EXPECT_EQ(openai.status, 503);
  EXPECT_EQ(openai.header("Retry-After"), "2");
  EXPECT_EQ(openai.header("Content-Type"), "application/json");
  EXPECT_EQ(openai.json().at("error").at("code").as_string(), "no_replica");
  const HttpAnswer anthropic = post("/v1/messages", body, "anthropic");
  EXPECT_EQ(anthropic.status, 503);
  EXPECT_EQ(anthropic.json().at("error").at("type").as_string(), "overloaded_error");
}

}  // namespace
}  // namespace dure
