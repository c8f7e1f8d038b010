// Adapters by name: listed beside the model, answering as an engine whose weights have them, scored
// by name too.
#include <gtest/gtest.h>

#include "server/server_fixture.h"

namespace dure {
namespace {

class AdaptersTest : public TinyModelTest {
 protected:
  static void SetUpTestSuite() {
    TinyModelTest::SetUpTestSuite();
    write("one", 5, 31);
    write("two", 3, 32);
  }
  static void write(const std::string& name, int64_t rank, uint64_t seed) {
    testing_chat::write_tiny_adapter(path_of(name), model(), rank, seed);
  }
  static std::string path_of(const std::string& name) {
    return (folder_->path() / ("adapter-" + name)).string();
  }
  static TestServerOptions both() {
    TestServerOptions out;
    out.adapters = {{"one", path_of("one")}, {"two", path_of("two")}};
    return out;
  }
  static std::string said(const TestServer& server, const std::string& name) {
    const HttpAnswer answer = server.post(
        "/v1/completions",
        R"({"prompt":"the village","max_tokens":24,"temperature":0,"model":")" + name + R"("})");
    EXPECT_EQ(answer.status, 200) << answer.body;
    EXPECT_EQ(answer.json().at("model").as_string(), name);
    return answer.json().at("choices").at(0).at("text").as_string();
  }
};

TEST_F(AdaptersTest, AreListedBesideTheModel) {
  TestServer server(model(), both());
  const Json list = server.get("/v1/models").json().at("data");
  std::vector<std::string> names;
  for (const Json& item : list.as_array()) names.push_back(item.at("id").as_string());
  EXPECT_EQ(names, (std::vector<std::string>{"nano", "alias/of/it", "one", "two"}));
  const HttpAnswer unknown = server.get("/v1/models/three");
  EXPECT_EQ(unknown.status, 404);
  EXPECT_NE(unknown.body.find("nano, alias/of/it, one, two"), std::string::npos) << unknown.body;
  const Json one = server.get("/v1/models/one").json();
  EXPECT_EQ(one.at("parent").as_string(), "nano");
  EXPECT_EQ(one.at("root").as_string(), path_of("one"));
  const HttpAnswer none =
      server.post("/v1/completions", R"({"prompt":"a","max_tokens":1,"model":"three"})");
  EXPECT_EQ(none.status, 404);
  EXPECT_NE(none.body.find("nano, alias/of/it, one, two"), std::string::npos) << none.body;
}

TEST_F(AdaptersTest, AnswerAsTheyDoAlone) {
  TestServer server(model(), both());
  const std::string base = said(server, "nano"), one = said(server, "one"),
                    two = said(server, "two");
  EXPECT_NE(base, one);
  EXPECT_NE(one, two);
  TestServerOptions alone;
  alone.adapters = {{"two", path_of("two")}};
  TestServer other(model(), alone);
  EXPECT_EQ(said(other, "two"), two);
  EXPECT_EQ(said(other, "nano"), base);
}

TEST_F(AdaptersTest, PromptsAreScoredWithThem) {
  TestServer server(model(), both());
  const auto scores = [&](const std::string& name) {
    const HttpAnswer answer = server.post(
        "/v1/completions",
        R"({"prompt":"the village is by the river in the valley","echo":true,"logprobs":1,"max_tokens":0,"model":")" +
            name + R"("})");
    EXPECT_EQ(answer.status, 200) << answer.body;
    return answer.json().at("choices").at(0).at("logprobs").at("token_logprobs").dump();
  };
  EXPECT_NE(scores("nano"), scores("one"));
  EXPECT_NE(scores("one"), scores("two"));
  EXPECT_EQ(scores("one"), scores("one"));
}

}  // namespace
}  // namespace dure
