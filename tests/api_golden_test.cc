// The API beside what two real servers answered (tests/golden/api): statuses, fields, kinds, order
// of events. What both have, the answer here has; where they differ, the status that docs/api.md
// chooses.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "golden.h"
#include "server/server_fixture.h"
#include "tiny_model.h"

namespace dure {
namespace {

// Where the two differ in status.
const std::map<std::string, int> kChosen = {
    {"version", 200},
    {"chat image part", 400},
    {"completions suffix", 400},
    {"completions empty", 400},
    {"apply-template", 200},
    {"props", 200},
    {"embeddings", 501},
    {"E unknown model", 404},
    {"E empty messages", 400},
    {"E temperature negative", 400},
    {"E top_p 2", 400},
    {"E max_tokens 0", 400},
    {"E max_tokens over context", 400},
    {"E bad json", 400},
    {"E top_logprobs 999", 400},
    {"E logit_bias bad key", 400},
    {"E unsupported schema keyword", 400},
    {"E tool_choice unknown", 400},
    {"E stop too many", 400},
    {"E wrong method", 405},
};

// Where both answer alike, and neither is followed.
const std::map<std::string, int> kElsewise = {
    {"E logit_bias huge", 400},  // a bias of 1e39 is no bias
};

int wanted_status(const Json& item) {
  const std::string& name = item.at("case").as_string();
  for (const auto* table : {&kElsewise, &kChosen}) {
    if (const auto found = table->find(name); found != table->end()) return found->second;
  }
  const int64_t status = item.at("vllm").at("status").as_int();
  EXPECT_EQ(status, item.at("llama").at("status").as_int()) << name << ": choose one";
  return static_cast<int>(status);
}

const char* kind_of(const Json& value) {
  if (value.is_null()) return "null";
  if (value.is_bool()) return "boolean";
  if (value.is_number()) return "number";
  return value.is_string() ? "string" : value.is_array() ? "list" : "object";
}

// Members that both peers have, of one kind in both, are here and of that kind.
void expect_common(const Json& a, const Json& b, const Json& ours, const std::string& path) {
  if (a.is_string() && b.is_string()) {
    if (a != b || a.as_string() == "null") return;
    EXPECT_EQ(a.as_string(), kind_of(ours)) << path;
  } else if (a.is_object() && b.is_object()) {
    ASSERT_TRUE(ours.is_object()) << path << " is " << kind_of(ours);
    for (const auto& [name, value] : a.as_object()) {
      const Json* other = b.find(name);
      if (other == nullptr) continue;
      const Json* here = ours.find(name);
      ASSERT_NE(here, nullptr) << path << "." << name << " is missing";
      expect_common(value, *other, *here, path + "." + name);
    }
  } else if (a.is_array() && b.is_array()) {
    ASSERT_TRUE(ours.is_array()) << path << " is " << kind_of(ours);
    if (a.size() == 0 || b.size() == 0) return;
    ASSERT_GT(ours.size(), 0u) << path << " is empty";
    expect_common(a.at(size_t{0}), b.at(size_t{0}), ours.at(size_t{0}), path + "[0]");
  }
}

// The events by name, or by what a chat's chunk brings; each stretch of one kind once.
std::string event_kind(const Json& event) {
  if (const Json* name = event.find("event")) return name->as_string();
  if (const Json* type = event.find("type")) return type->as_string();
  const Json* data = event.find("data");
  const Json& chunk = data != nullptr ? *data : event;
  if (chunk.is_string()) return chunk.as_string();
  const Json* choices = chunk.find("choices");
  if (choices == nullptr || choices->size() == 0) return "usage";
  const Json& choice = choices->at(size_t{0});
  const Json* finish = choice.find("finish_reason");
  if (finish != nullptr && !finish->is_null() && *finish != Json("null")) return "finish";
  const Json* delta = choice.find("delta");
  return delta != nullptr && delta->contains("role") ? "role" : "text";
}

// Each kind where it comes first.
std::vector<std::string> order_of(const std::vector<Json>& events) {
  std::vector<std::string> out;
  for (const Json& event : events) {
    std::string kind = event_kind(event);
    if (kind == "response.incomplete") kind = "response.completed";  // cut by its length
    if (std::find(out.begin(), out.end(), kind) == out.end()) out.push_back(kind);
  }
  return out;
}

class ApiGolden : public TinyModel {};

void expect_stream(const Json& item, const HttpAnswer& answer) {
  EXPECT_TRUE(answer.header("Content-Type").starts_with("text/event-stream"));
  EXPECT_TRUE(answer.whole);
  const std::vector<Json> ours = events_of(answer.body);
  ASSERT_FALSE(ours.empty());
  const Json::Array& vllm = item.at("vllm").at("events").as_array();
  // Of the kinds that both have; a tiny model may say nothing where theirs said something.
  std::vector<std::string> wanted = order_of(vllm), got = order_of(ours);
  const std::vector<std::string> other = order_of(item.at("llama").at("events").as_array());
  const auto is_common = [&](const std::string& kind) {
    return kind != "text" && std::find(other.begin(), other.end(), kind) != other.end();
  };
  std::erase_if(wanted, [&](const std::string& kind) { return !is_common(kind); });
  std::erase_if(got, [&](const std::string& kind) {
    return std::find(wanted.begin(), wanted.end(), kind) == wanted.end();
  });
  EXPECT_EQ(got, wanted);
  const Json* first_vllm = vllm.front().find("data");
  const Json* first_llama = item.at("llama").at("events").as_array().front().find("data");
  expect_common(*first_vllm, *first_llama, ours.front(), "first event");
}

void expect_answer(const Json& item, const HttpAnswer& answer) {
  const Json *vllm = item.at("vllm").find("body"), *llama = item.at("llama").find("body");
  if (item.at("vllm").contains("events")) return expect_stream(item, answer);
  if (vllm == nullptr || llama == nullptr) return;
  expect_common(*vllm, *llama, answer.json(), "body");
}

void expect_error(const HttpAnswer& answer, bool anthropic) {
  const Json body = answer.json();
  const Json& error = body.at("error");
  EXPECT_EQ(body.contains("type"), anthropic);
  EXPECT_FALSE(error.at("message").as_string().empty());
  EXPECT_FALSE(error.at("type").as_string().empty());
  if (anthropic) return;
  EXPECT_TRUE(error.contains("param"));
  EXPECT_TRUE(error.at("code").is_null() || error.at("code").is_string());
}

TEST_F(ApiGolden, AnswersAsRealServersDo) {
  TestServer server(at("model"), {.context_tokens = 2048});
  int64_t count = 0;
  for (const Path& root : golden::roots("api")) {
    const std::string lines = read_file(root / "cases.jsonl");
    for (size_t at = 0; at < lines.size();) {
      const size_t end = lines.find('\n', at);
      const Json item = parse_json(lines.substr(at, end - at), "cases.jsonl");
      at = end + 1;
      SCOPED_TRACE(item.at("case").as_string());
      const Json& request = item.at("request");
      const std::string& path = item.at("path").as_string();
      HttpAnswer answer;
      if (item.at("method").as_string() == "GET") {
        answer = server.get(path);
      } else {
        answer = server.post(path, request.is_string() ? request.as_string() : request.dump());
      }
      EXPECT_EQ(answer.status, wanted_status(item)) << answer.body.substr(0, 400);
      if (answer.status == 200) {
        expect_answer(item, answer);
      } else {
        expect_error(answer, path.starts_with("/v1/messages"));
      }
      // The same below and without /v1.
      if (path.starts_with("/v1/") && answer.status >= 400) {
        EXPECT_EQ(item.at("method").as_string() == "GET"
                      ? server.get(path.substr(3)).status
                      : server
                            .post(path.substr(3),
                                  request.is_string() ? request.as_string() : request.dump())
                            .status,
                  answer.status);
      }
      ++count;
    }
  }
  EXPECT_GT(count, 60);
}

}  // namespace
}  // namespace dure
