// What do keys and values in fewer bits cost? One model against itself with float32 keys and
// values, on texts: KL of the next-token distributions, how often the likeliest token is another,
// and what a context takes of memory.
//
//   bench_kv_types MODEL TEXTS.jsonl [TOKENS [TEXTS [exact|integer8]]]   (1024 tokens a text, 32
//   texts, exact)
//
// Neighbouring "text" fields are joined until a text has its tokens, so that there is depth. How
// long decoding takes: `dure bench MODEL -p 0 -n 16 -d 0,8192 --kv-type TYPE`.
#include <cstdio>
#include <cstdlib>

#include "base/error.h"
#include "bench_main.h"
#include "chat/open_model.h"
#include "data/jsonl.h"
#include "engine/kv_cache.h"
#include "eval/divergence.h"
#include "tensor/cpu_stream.h"

namespace dure {
namespace {

std::vector<std::string> joined_texts(const Path& path, size_t bytes, size_t count) {
  std::vector<std::string> out(1);
  JsonlReader reader(path);
  Record record;
  while (reader.next(record) == JsonlReader::Outcome::kRecord) {
    out.back() += record.text + "\n\n";
    if (out.back().size() < bytes) continue;
    if (out.size() == count) break;
    out.emplace_back();
  }
  return out;
}

int run(int argc, char** argv) {
  if (argc < 3)
    fail(ErrorCode::kInvalidArgument, "MODEL TEXTS.jsonl [TOKENS [TEXTS [ARITHMETIC]]]");
  const auto number = [&](int i, int64_t otherwise) {
    return argc > i ? std::atoll(argv[i]) : otherwise;
  };
  const int64_t tokens = number(3, 1024), count = number(4, 32);
  const auto arithmetic = arithmetic_from_name(argc > 5 ? argv[5] : "exact");
  if (tokens < 2 || count < 1 || !arithmetic)
    fail(ErrorCode::kInvalidArgument, "{} tokens, {} texts, arithmetic {}", tokens, count,
         argc > 5 ? argv[5] : "exact");
  const OpenModel model = open_model_to_read(argv[1], *arithmetic);
  // Four bytes a token: some texts are shorter, none is cut far.
  const std::vector<std::string> texts =
      joined_texts(argv[2], static_cast<size_t>(4 * tokens), static_cast<size_t>(count));
  CpuStream stream;
  std::printf(
      "| keys and values | bytes of a context of %lld | KL, nats a token | at most | "
      "another likeliest token |\n|---|--:|--:|--:|--:|\n",
      static_cast<long long>(tokens));
  int64_t seen = 0;
  for (const DType type : {DType::kF32, DType::kF16, DType::kBF16, DType::kQ8_0}) {
    const Divergence d =
        divergence(model, model, texts, {.tokens_max = tokens, .second_kv_dtype = type}, stream);
    const KvCachePlan plan =
        kv_cache_plan(model.weights.config,
                      {.context_tokens_max = tokens, .append_tokens_max = 1, .dtype = type});
    std::printf("| %s | %lld | %.3e | %.2e | %.3f %% |\n",
                std::string(dtype_info(type).name).c_str(),
                static_cast<long long>(plan.total_bytes()), d.mean_nats, d.most_nats,
                100 * (1 - d.same_top_share));
    std::fflush(stdout);
    seen = d.tokens;
  }
  std::printf("%lld tokens of %zu texts\n", static_cast<long long>(seen), texts.size());
  return 0;
}

}  // namespace
}  // namespace dure

int main(int argc, char** argv) {
  return dure::bench_main(dure::run, argc, argv, "bench_kv_types: ");
}
