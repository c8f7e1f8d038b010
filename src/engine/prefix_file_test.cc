// After a restart: warm answers have the bits of cold ones; a file of another model, cut off or
// with any bit changed is refused, and nothing is held by what was refused.
#include "engine/prefix_file.h"

#include <gtest/gtest.h>

#include <cstring>

#include "base/error.h"
#include "base/hash.h"
#include "engine/engine_fixture.h"
#include "kernels/isa.h"

namespace dure {
namespace {

using namespace testing_engine;

const PrefixFileOwner kOwner{"tiny", "this build"};

GeneratorOptions options(int64_t drafts) {
  return {.sequences_max = 4,
          .context_tokens_max = 256,
          .batch_rows_max = 64,
          .chunk_tokens_max = 64,
          .draft_tokens_max = drafts,
          .prefix = {.keep = true, .bytes_max = 1 << 20, .stride_tokens = 64}};
}

ModelConfig drafting_config() {
  ModelConfig c = tiny_config();
  c.mtp_layer_count = 1;
  c.mtp_layer = sliding_layer(c.mtp_layer, 70);
  return c;
}

TEST(PrefixFile, WarmAfterARestartIsColdToTheBit) {
  const TemporaryFolder folder;
  const Path path = folder.path() / "prefixes";
  ModelConfig config = drafting_config();
  config.head_width = 32;  // a block of eight-bit keys
  Model model(config);
  for (const auto& [kv_dtype, drafts] :
       {std::pair(DType::kF32, 0), {DType::kF32, 2}, {DType::kQ8_0, 2}}) {
    const auto options_now = [&] {
      GeneratorOptions o = options(drafts);
      o.kv_dtype = kv_dtype;
      o.prefix.bytes_max = 2 << 20;
      return o;
    };
    std::vector<GenerationRequest> all = requests(6);
    for (GenerationRequest& r : all) r.stop_tokens.clear();
    std::vector<Generation> answers;
    int64_t snapshots = 0, bytes = 0;
    {
      Generator first(model.weights, options_now(), model.stream);
      answers = first.run(all);
      snapshots = first.statistics().prefixes;
      bytes = first.statistics().prefix_bytes;
      first.save_prefixes(path, kOwner);
    }
    for (size_t i = 0; i < all.size(); ++i) {  // the next turn
      all[i].prompt.insert(all[i].prompt.end(), answers[i].tokens.begin(), answers[i].tokens.end());
      all[i].prompt.insert(all[i].prompt.end(), {1, 2, 3});
      all[i].new_tokens_max = 10;
    }
    GeneratorOptions o = options_now();
    Generator warm(model.weights, o, model.stream);
    const RestoredPrefixes restored = warm.restore_prefixes(path, kOwner);
    EXPECT_EQ(restored.snapshots, snapshots);
    EXPECT_EQ(restored.left_away, 0);
    EXPECT_EQ(warm.statistics().prefix_bytes, bytes);
    const auto again = warm.run(all);
    o.prefix = {};
    Generator cold(model.weights, o, model.stream);
    expect_same(again, cold.run(all), "after a restart");
    int64_t cached = 0;
    for (const Generation& g : again) cached += g.cached_tokens;
    EXPECT_GT(cached, 200);
    EXPECT_LT(warm.statistics().rows, cold.statistics().rows - 200);
    // Where there is less room the last used ones come back.
    o.prefix.keep = true;
    o.page_count = 6;
    o.sequences_max = 1;
    Generator small(model.weights, o, model.stream);
    const RestoredPrefixes some = small.restore_prefixes(path, kOwner);
    EXPECT_GT(some.snapshots, 0);
    EXPECT_GT(some.left_away, 0);
    expect_same(small.run(all), again, "some of them");
    small.forget_prefixes();
    EXPECT_EQ(small.statistics().prefix_bytes, 0);
  }
}

std::string refusal(Generator& generator, const Path& path,
                    const PrefixFileOwner& owner = {"this one", kOwner.build}) {
  try {
    generator.restore_prefixes(path, owner);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(PrefixFile, RefusesWhatIsNotItsOwn) {
  const TemporaryFolder folder;
  const Path path = folder.path() / "prefixes";
  Model model(drafting_config()), other(drafting_config());
  other.parameters.at("model.norm.weight").view.f32()[0] += 1;
  Generator generator(model.weights, options(0), model.stream);
  generator.run(requests(3));
  generator.save_prefixes(path, kOwner);
  Generator others(other.weights, options(0), other.stream);
  EXPECT_NE(refusal(others, path).find("another model"), std::string::npos);
  EXPECT_NE(refusal(others, path).find("this one"), std::string::npos);
  EXPECT_NE(refusal(generator, path, {"this one", "a later build"}).find("another program"),
            std::string::npos);
  if (isa() != Isa::kGeneric) {
    const Isa before = isa();
    set_isa(Isa::kGeneric);
    EXPECT_NE(refusal(generator, path).find("than this (generic, this build)"), std::string::npos);
    set_isa(before);
  }
  GeneratorOptions o = options(0);
  o.kv_dtype = DType::kBF16;
  Generator rounded(model.weights, o, model.stream);
  EXPECT_NE(refusal(rounded, path).find("another type"), std::string::npos);
  Generator drafting(model.weights, options(2), model.stream);
  EXPECT_NE(refusal(drafting, path).find("without drafts"), std::string::npos);
  o.prefix = {};
  Generator none(model.weights, o, model.stream);
  EXPECT_NE(refusal(none, path).find("none are kept"), std::string::npos);
  const Path text = folder.path() / "text";
  write_file(text, "no prefixes");
  EXPECT_NE(refusal(generator, text).find("not a file of prefixes"), std::string::npos);
}

// Damage: any bit, any length; and lists that are well signed but wrong.
TEST(PrefixFile, DamageIsRefused) {
  const TemporaryFolder folder;
  const Path path = folder.path() / "prefixes", damaged = folder.path() / "damaged";
  Model model(drafting_config());
  {
    Generator generator(model.weights, options(0), model.stream);
    generator.run(requests(3));
    generator.save_prefixes(path, kOwner);
  }
  const std::string whole = read_file(path);
  Generator generator(model.weights, options(0), model.stream);
  Rng rng(7);
  for (int round = 0; round < 150; ++round) {
    std::string bytes = whole;
    const size_t most = round % 2 == 0 ? bytes.size() : std::min<size_t>(bytes.size(), 600);
    bytes[rng.below(most)] ^= static_cast<char>(1 << rng.below(8));
    write_file(damaged, bytes);
    ASSERT_NE(refusal(generator, damaged), "") << round;
  }
  for (int round = 0; round < 20; ++round) {
    write_file(damaged, whole.substr(0, rng.below(whole.size())));
    ASSERT_NE(refusal(generator, damaged), "");
  }
  EXPECT_EQ(generator.statistics().prefixes, 0);
  int64_t refused = 0;
  for (int round = 0; round < 300; ++round) {
    std::string bytes = whole;
    int64_t list_bytes = 0;
    std::memcpy(&list_bytes, bytes.data() + 64, 8);
    const size_t list = 2 * 24 + static_cast<size_t>(list_bytes);
    for (int n = 0; n < 3; ++n) {
      const size_t at = 160 + rng.below(list / 4) * 4;
      const auto value = static_cast<int32_t>(rng.below(5) * rng.below(300)) - 2;
      std::memcpy(bytes.data() + at, &value, 4);
    }
    uint64_t sum = xxh64(std::string_view(bytes).substr(160, list));
    std::memcpy(bytes.data() + 80, &sum, 8);
    sum = xxh64(std::string_view(bytes).substr(0, 152));
    std::memcpy(bytes.data() + 152, &sum, 8);
    write_file(damaged, bytes);
    refused += refusal(generator, damaged).empty() ? 0 : 1;
    generator.forget_prefixes();
    ASSERT_EQ(generator.statistics().prefix_bytes, 0);
  }
  EXPECT_GT(refused, 50);
}

}  // namespace
}  // namespace dure
