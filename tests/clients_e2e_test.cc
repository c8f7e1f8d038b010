// Other people's clients, unchanged: each is a script of tests/clients, run in an environment with
// pinned versions (tools/peer_venv.sh) against `dure serve`. Skipped where they cannot be had.
#include <gtest/gtest.h>

#include <cstdlib>
#include <thread>

#include "chat/chat_fixture.h"
#include "served.h"
#include "server/server_fixture.h"
#include "tiny_model.h"

namespace dure {
namespace {

constexpr const char* kScripts = DURE_SOURCE_DIR "/tests/clients/";

struct Ended {
  int code = 0;
  std::string out;
};

// `on_line` is called for each line that it prints, on either output.
Ended run_command(const std::string& command,
                  const std::function<void(const std::string&)>& on_line = nullptr) {
  Ended run;
  std::FILE* pipe =
      ::popen(("PYTHONDONTWRITEBYTECODE=1 timeout 300 " + command + " 2>&1").c_str(), "r");
  char buffer[4096];
  while (std::fgets(buffer, sizeof(buffer), pipe) != nullptr) {
    run.out += buffer;
    if (on_line) on_line(buffer);
  }
  run.code = WEXITSTATUS(::pclose(pipe));
  return run;
}

// The Python of that environment, made where it is missing; "" where that cannot be done.
std::string python_of(const std::string& name) {
  const Ended made =
      run_command("'" DURE_SOURCE_DIR "/tools/peer_venv.sh' " + name + " 2>/dev/null; exit $?");
  std::string path = made.out.substr(0, made.out.find('\n'));
  if (path_exists(path)) return path;
  std::printf("skipped: the clients of %s, as PyPI cannot be reached\n", name.c_str());
  return "";
}

void expect_script(const std::string& interpreter, const std::string& script,
                   const std::string& arguments) {
  const Ended run = run_command(interpreter + " '" + kScripts + script + "' " + arguments);
  EXPECT_EQ(run.code, 0) << run.out;
}

class Clients : public TinyModel {
 protected:
  static std::string flags() { return "--context 1024 --max-sequences 8 --model-name tiny"; }
};

TEST_F(Clients, Curl) {
  if (run_command("curl --version").code != 0) GTEST_SKIP() << "there is no curl";
  const Served server(at("model"), flags());
  expect_script("bash", "curl.sh", server.url() + " tiny");
}

TEST_F(Clients, OpenAiAndAnthropic) {
  const std::string python = python_of("clients");
  if (python.empty()) GTEST_SKIP();
  const Served server(at("model"), flags());
  expect_script(python, "openai_client.py", server.url() + " tiny");
  expect_script(python, "anthropic_client.py", server.url() + " tiny");
}

TEST_F(Clients, ComeBackWhereTheyAreToldTo) {
  const std::string python = python_of("clients");
  if (python.empty()) GTEST_SKIP();
  TestServer server(at("model"), {.context_tokens = 100000,
                                  .sequences_max = 1,
                                  .queue_max = 1,
                                  .page_count = 2000,
                                  .ready = false});
  std::thread later;
  const Ended run = run_command(fmt::format("{} '{}retries_client.py' http://127.0.0.1:{} nano",
                                            python, kScripts, server.port()),
                                [&](const std::string& line) {
                                  if (line != "loading\n") return;
                                  later = std::thread([&] {
                                    std::this_thread::sleep_for(std::chrono::milliseconds(400));
                                    server.set_ready();
                                  });
                                });
  if (later.joinable()) later.join();
  EXPECT_EQ(run.code, 0) << run.out;
}

TEST_F(Clients, LangChainAndLmEval) {
  if (std::getenv("DURE_TEST_ALL") == nullptr)
    GTEST_SKIP() << "LangChain and lm-eval take 900 MB: ./dev test --all";
  const std::string python = python_of("clients-all");
  if (python.empty()) GTEST_SKIP();
  const Served server(at("model"), flags());
  expect_script(python, "langchain_client.py", server.url() + " tiny");
  expect_script(python, "lm_eval_client.py", server.url() + " tiny");
}

}  // namespace
}  // namespace dure
