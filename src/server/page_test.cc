// The page's files, and what it asks for: who may see it, and nothing beside what is meant.
#include <gtest/gtest.h>
#include <zlib.h>

#include <cstdlib>

#include "chat/chat_fixture.h"
#include "runs/registry.h"
#include "server/page_files.h"
#include "server/server_fixture.h"

namespace dure {
namespace {

class PageTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    models_ = std::make_unique<TemporaryFolder>();
    testing_chat::write_tiny_model(models_->path() / "model", testing_chat::tiny_texts());
  }
  static void TearDownTestSuite() { models_.reset(); }
  static std::string model() { return (models_->path() / "model").string(); }

  PageTest() { ::setenv("DURE_REGISTRY", (folder_.path() / "runs.sqlite").c_str(), 1); }
  ~PageTest() override { ::setenv("DURE_REGISTRY", "off", 1); }

  // A run of RL in the registry; its id.
  std::string make_run() const {
    const Path run = folder_.path() / "rl";
    make_folders(run);
    write_file(run / "config.json", R"({"objective":{"objective":"grpo"},"rollout":{},"steps":2})");
    write_file(run / "metrics.jsonl", "{\"step\":1,\"reward\":0.5}\n{\"step\":2,\"reward\":1.0}\n");
    write_file(run / "samples.jsonl", "{\"step\":1,\"task\":\"t\",\"reward\":1.0}\n");
    write_file(folder_.path() / "secret.jsonl", "{\"secret\":1}\n");
    Registry(folder_.path() / "runs.sqlite").scan(folder_.path());
    return run_id(run);
  }

  TemporaryFolder folder_;
  static std::unique_ptr<TemporaryFolder> models_;
};
std::unique_ptr<TemporaryFolder> PageTest::models_;

TEST_F(PageTest, FilesAreWholeTypedAndKept) {
  TestServer server(model(), {});
  ASSERT_GT(page_files().size(), 30u);
  for (const PageFile& file : page_files()) {
    const std::string path = "/page/" + std::string(file.name);
    const HttpAnswer plain = server.get(path);
    ASSERT_EQ(plain.status, 200) << path;
    EXPECT_EQ(plain.header("Content-Type"), file.type);
    EXPECT_EQ(plain.header("Content-Encoding"), "");
    const HttpAnswer packed = server.get(path, "Accept-Encoding: br, gzip\r\n");
    EXPECT_EQ(packed.header("Content-Encoding"), file.packed ? "gzip" : "");
    EXPECT_EQ(packed.body, file.bytes);
    EXPECT_GE(plain.body.size(), packed.body.size()) << path;
    const HttpAnswer known = server.get(
        path, fmt::format("Connection: close\r\nIf-None-Match: {}\r\n", std::string(file.tag)));
    EXPECT_EQ(known.status, 304);
    EXPECT_EQ(known.body, "");
  }
  const HttpAnswer page = server.get("/");
  EXPECT_NE(page.body.find("<!doctype html>"), std::string::npos);
  EXPECT_EQ(page.body.find("http:"), std::string::npos) << "something comes from elsewhere";
  const std::string policy = page.header("Content-Security-Policy");
  EXPECT_NE(policy.find("default-src 'none'"), std::string::npos);
  EXPECT_EQ(policy.find("unsafe"), std::string::npos);
  EXPECT_EQ(server.get("/page/nothing.js").status, 404);
  EXPECT_EQ(server.get("/page/").status, 404);
  EXPECT_EQ(server.get("/page/..%2f..%2fetc%2fpasswd").status, 404);
}

TEST_F(PageTest, OwnFilesAreAsTheyStandInTheTree) {
  for (const PageFile& file : page_files()) {
    const Path source = Path(DURE_SOURCE_DIR) / "src/server/page" / std::string(file.name);
    if (!path_exists(source)) continue;
    const std::string text = read_file(source);
    uLongf size = text.size() + 1;
    std::string unpacked(size, '\0');
    z_stream stream{};
    ASSERT_EQ(inflateInit2(&stream, 31), Z_OK);
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(file.bytes.data()));
    stream.avail_in = static_cast<uInt>(file.bytes.size());
    stream.next_out = reinterpret_cast<Bytef*>(unpacked.data());
    stream.avail_out = static_cast<uInt>(size);
    EXPECT_EQ(inflate(&stream, Z_FINISH), Z_STREAM_END);
    unpacked.resize(size - stream.avail_out);
    inflateEnd(&stream);
    EXPECT_EQ(unpacked, text) << file.name;
  }
}

TEST_F(PageTest, TheEngineIsSeen) {
  TestServer server(model(), {.ready = false});
  EXPECT_FALSE(server.get("/dure/engine").json().at("ready").as_bool());
  server.set_ready();
  server.post("/v1/chat/completions",
              R"({"messages":[{"role":"user","content":"hello"}],"max_tokens":5})");
  const Json state = server.get("/dure/engine").json();
  EXPECT_TRUE(state.at("ready").as_bool());
  EXPECT_EQ(state.at("model").as_string(), "nano");
  EXPECT_GE(state.at("generator").at("new_tokens").as_int(), 1);
  EXPECT_EQ(state.at("generator").at("drafters").at("ngram").at("accepted").as_int(), 0);
  const Json& first = state.at("latency").at("first_token");
  EXPECT_EQ(first.at("count").as_int(), 1);
  EXPECT_GT(first.at("p99").as_double(), 0);
}

TEST_F(PageTest, RunsAreReadByTheirIdAlone) {
  const std::string id = make_run();
  TestServer server(model(), {});
  const Json list = server.get("/dure/runs").json().at("runs");
  ASSERT_EQ(list.size(), 1u);
  EXPECT_EQ(list.at(size_t{0}).at("id").as_string(), id);
  const std::string run = "/dure/runs/" + id;
  EXPECT_EQ(server.get(run).json().at("config").at("steps").as_int(), 2);
  const Json rows = server.get(run + "/metrics").json();
  EXPECT_EQ(rows.at("rows").size(), 2u);
  const std::string next = std::to_string(rows.at("next").as_int());
  EXPECT_EQ(server.get(run + "/metrics?offset=" + next).json().at("rows").size(), 0u);
  EXPECT_EQ(server.get(run + "/samples?right=1&task=t&count=5").json().at("total").as_int(), 1);
  EXPECT_EQ(server.get(run + "/samples?task=%74&right=0").json().at("total").as_int(), 0);
  EXPECT_EQ(server.get(run + "/results").status, 200);
  for (const char* wrong : {"?offset=x", "?offset=-1", "?offset=99999999999999999999"})
    EXPECT_EQ(server.get(run + "/metrics" + wrong).status, 400) << wrong;
  EXPECT_EQ(server.get(run + "/samples?count=101").status, 400);
  for (const std::string& none :
       {run + "/..", run + "/../secret.jsonl", run + "/metrics/x", run + "%2f..%2fsecret.jsonl",
        run.substr(0, run.size() - 1), std::string("/dure/runs/%25"), std::string("/dure/runs/..")})
    EXPECT_EQ(server.get(none).status, 404) << none;
  EXPECT_EQ(server.post("/dure/runs", "{}").status, 405);
}

// A link cannot send a key: a ticket opens that one report.
TEST_F(PageTest, AReportIsOpenedByATicket) {
  const std::string id = make_run();
  write_file(folder_.path() / "rl" / "report.html", "<h1>so it went</h1>");
  TestServer server(model(), {.api = {.keys = {"k"}}});
  const std::string report = "/dure/runs/" + id + "/report", key = "Authorization: Bearer k\r\n";
  EXPECT_EQ(server.get(report).status, 401);
  EXPECT_EQ(server.get(report + "-ticket").status, 401);
  EXPECT_EQ(server.get(report, key).status, 200);
  const std::string ticket = server.get(report + "-ticket", key).json().at("ticket").as_string();
  EXPECT_GE(ticket.size(), 32U);
  const HttpAnswer opened = server.get(report + "?ticket=" + ticket);
  EXPECT_EQ(opened.status, 200);
  EXPECT_NE(opened.body.find("so it went"), std::string::npos);
  EXPECT_NE(opened.header("Content-Security-Policy").find("sandbox"), std::string::npos);
  EXPECT_EQ(server.get(report + "?ticket=").status, 401);
  EXPECT_EQ(server.get(report + "?ticket=" + ticket + "0").status, 401);
  EXPECT_EQ(server.get("/dure/runs?ticket=" + ticket).status, 401);
  EXPECT_EQ(server.get("/v1/models?ticket=" + ticket).status, 401);
}

TEST_F(PageTest, NobodySeesRunsWhoShouldNot) {
  const std::string id = make_run();
  TestServer keyed(model(), {.api = {.keys = {"k"}}});
  EXPECT_EQ(keyed.get("/").status, 200);
  EXPECT_EQ(keyed.get("/page/main.js").status, 200);
  for (const std::string& path : {std::string("/dure/engine"), std::string("/dure/runs"),
                                  "/dure/runs/" + id, "/dure/runs/" + id + "/samples"}) {
    EXPECT_EQ(keyed.get(path).status, 401) << path;
    EXPECT_EQ(keyed.get(path, "Authorization: Bearer k\r\n").status, 200) << path;
    const std::string pointed =
        "GET " + path + " HTTP/1.1\r\nHost: elsewhere.example\r\nx-api-key: k\r\n\r\n";
    EXPECT_EQ(LoopbackClient(keyed.port()).ask(pointed).status, 403) << path;
  }
  TestServer closed(model(), {.api = {.cors_origins = {"*"}, .runs = ShowRuns::kNever}});
  EXPECT_EQ(closed.get("/dure/runs").status, 404);
  EXPECT_EQ(closed.get("/dure/runs/" + id).status, 404);
  // No other page reads them, whatever may ask the model.
  TestServer open(model(), {.api = {.cors_origins = {"*"}}});
  const HttpAnswer other = open.get("/dure/runs", "Origin: https://elsewhere.example\r\n");
  EXPECT_EQ(other.header("Access-Control-Allow-Origin"), "");
}

}  // namespace
}  // namespace dure
