// The masks of JSON Schemas for another judge: tools/check_schemas.py gives schemas and texts, a
// JSON line each, and gets what random walks through the masks wrote and which texts the masks
// take.
//   bench_schema_walks < REQUESTS > ANSWERS
//   {"schema": ..., "texts": [...], "walks": 5, "seed": 1, "as_standard": true}
//   {"refused": "..."} or {"written": [...], "unfinished": 0, "taken": [true, ...]}
// A text counts as taken only where three random ways to cut it into tokens all are.
#include <iostream>

#include "base/error.h"
#include "grammar/grammar_fixture.h"

namespace dure {
namespace {

constexpr int64_t kTokensMax = 4'000;
constexpr int64_t kFreeTokens = 60;  // Then a walk heads for its end.

class Walks {
 public:
  Walks(const SmallVocabulary& words, Grammar grammar)
      : words_(words),
        cache_(std::make_shared<MaskCache>(std::make_shared<const Grammar>(std::move(grammar)),
                                           words.tokens)) {}

  // What a random walk wrote; nothing where it did not end.
  std::optional<std::string> written(Rng& rng) {
    TokenMatcher matcher(cache_, {words_.stop});
    std::string text;
    for (int64_t i = 0; i < kTokensMax; ++i) {
      const std::vector<int32_t> ids = allowed_ids(matcher);
      if (ids.empty()) fail(ErrorCode::kCorrupt, "nothing is allowed after {}", text);
      const int32_t id = i < kFreeTokens || rng.below(2) == 0
                             ? ids[static_cast<size_t>(rng.below(std::ssize(ids)))]
                             : closing(ids, rng);
      if (!matcher.accept(id)) fail(ErrorCode::kCorrupt, "token {} after {}", id, text);
      if (id == words_.stop) return text;
      text += words_.texts[static_cast<size_t>(id)];
    }
    return std::nullopt;
  }

  bool takes(const std::string& text, Rng& rng) {
    bool first = false;
    for (int i = 0; i < 3; ++i) {
      const bool taken = takes_cut(text, rng);
      if (i > 0 && taken != first) fail(ErrorCode::kCorrupt, "taken by some cuts only: {}", text);
      first = taken;
    }
    return first;
  }

 private:
  int32_t closing(const std::vector<int32_t>& ids, Rng& rng) const {
    for (const char* wanted : {"\xFF<stop>", "\"", "}", "]", "0", "1", "e", "l", "u"}) {
      for (const int32_t id : ids)
        if (words_.texts[static_cast<size_t>(id)] == wanted && rng.below(8) != 0) return id;
    }
    return ids[static_cast<size_t>(rng.below(std::ssize(ids)))];
  }
  bool takes_cut(const std::string& text, Rng& rng) {
    TokenMatcher matcher(cache_, {words_.stop});
    for (size_t at = 0; at < text.size();) {
      std::vector<int32_t> fitting;
      for (size_t id = 0; id < words_.texts.size(); ++id)
        if (text.compare(at, words_.texts[id].size(), words_.texts[id]) == 0)
          fitting.push_back(static_cast<int32_t>(id));
      const int32_t id = fitting[static_cast<size_t>(rng.below(std::ssize(fitting)))];
      const auto mask = matcher.allowed();
      const bool allowed = (mask[static_cast<size_t>(id) / 64] >> (id % 64) & 1) != 0;
      if (allowed != matcher.accept(id)) fail(ErrorCode::kCorrupt, "mask and matcher differ");
      if (!allowed) return false;
      at += words_.texts[static_cast<size_t>(id)].size();
    }
    return matcher.complete();
  }

  const SmallVocabulary& words_;
  std::shared_ptr<MaskCache> cache_;
};

Json answer(const Json& request, const SmallVocabulary& words) {
  Json out = Json::object();
  Rng rng(static_cast<uint64_t>(request.at("seed").as_int()));
  JsonSchemaOptions options;
  if (request.at("as_standard").as_bool()) options.unlisted = UnlistedMembers::kAsStandard;
  try {
    GrammarBuilder builder;
    JsonGrammar json(builder, JsonSpacing::kFlexible);
    const JsonSchemaRule rule = add_json_schema(json, request.at("schema"), options);
    Walks walks(words, builder.build(rule.rule));
    out["ignored"] = Json::array_of(rule.ignored);
    out["written"] = Json::array();
    out["taken"] = Json::array();
    int64_t unfinished = 0;
    for (int64_t i = request.at("walks").as_int(); i > 0; --i) {
      const auto text = walks.written(rng);
      if (text) out["written"].push_back(*text);
      if (!text) ++unfinished;
    }
    out["unfinished"] = unfinished;
    for (const Json& text : request.at("texts").as_array())
      out["taken"].push_back(walks.takes(text.as_string(), rng));
  } catch (const Error& e) {
    if (e.code() == ErrorCode::kCorrupt) throw;
    out["refused"] = e.what();
  }
  return out;
}

}  // namespace
}  // namespace dure

int main() {
  dure::Rng rng(1);
  const dure::SmallVocabulary words = dure::small_vocabulary(rng, 700);
  std::string line;
  try {
    while (std::getline(std::cin, line))
      std::cout << dure::answer(dure::parse_json(line, "request"), words).dump() << std::endl;
  } catch (const dure::Error& e) {
    std::cerr << e.what() << "\n" << line << std::endl;
    return 1;
  }
  return 0;
}
