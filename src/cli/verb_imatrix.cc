// `dure imatrix MODEL TEXT`: which input columns of each matrix matter on a text, for `dure
// quantize --imatrix`.
#include <algorithm>
#include <memory>

#include "base/error.h"
#include "base/log.h"
#include "base/progress.h"
#include "chat/open_model.h"
#include "cli/args.h"
#include "cli/verbs.h"
#include "data/input.h"
#include "model/context_fit.h"
#include "quantise/calibrate.h"
#include "tensor/cpu_stream.h"

namespace dure {
namespace {

struct ImatrixArgs {
  std::string model;
  std::vector<std::string> texts;
  std::string out;
  int64_t chunk = 512, chunks = 0;
  bool force = false;
};

void check(const ImatrixArgs& args) {
  if (args.out.empty()) fail(ErrorCode::kInvalidArgument, "--out FILE is needed");
  if (args.chunk < 2 || args.chunk > 1'000'000)
    fail(ErrorCode::kInvalidArgument, "--chunk {}: from 2 to 1000000 tokens", args.chunk);
  if (args.chunks < 0) fail(ErrorCode::kInvalidArgument, "--chunks {}: 0 or more", args.chunks);
  check_replaceable_file(args.out, args.force);
}

void report(const ImportanceMatrix& matrix, const std::string& out) {
  int64_t experts = 0, unreached = 0;
  std::string most;
  int64_t most_unreached = 0;
  for (const auto& [name, entry] : matrix.entries) {
    if (entry.matrices == 1) continue;
    experts += entry.matrices;
    unreached += entry.unreached();
    if (entry.unreached() > most_unreached) {
      most_unreached = entry.unreached();
      most = name;
    }
  }
  if (unreached > 0)
    log_warn(
        "{} of {} expert matrices were never reached (most in {}: {}); `dure quantize` takes the "
        "mean of their layer. More text, or text of more kinds, reaches more",
        unreached, experts, most, most_unreached);
  fmt::print("importance of {} matrices from {} chunks of {} tokens: {}\n", matrix.entries.size(),
             matrix.chunk_count, matrix.chunk_tokens, out);
}

int imatrix(const ImatrixArgs& args) {
  check(args);
  const OpenModel model = open_model_to_read(args.model);
  std::vector<int32_t> ids;
  for (const std::string& path : args.texts) {
    const std::vector<int32_t> more = model.texts.require_tokenizer().encode(read_text_input(path));
    ids.insert(ids.end(), more.begin(), more.end());
  }
  for (const int32_t id : ids)
    if (id >= model.weights.config.vocab_size)
      fail(ErrorCode::kInvalidArgument, "token {} where the model's vocabulary has {}", id,
           model.weights.config.vocab_size);
  CpuStream stream;
  const int64_t all = std::ssize(ids);
  Progress progress("imatrix", args.chunks > 0 ? std::min(all, args.chunks * args.chunk) : all,
                    "tokens");
  ImportanceMatrix matrix =
      calibrate(model.weights, ids, {.chunk_tokens = args.chunk, .chunks_max = args.chunks}, stream,
                [&](int64_t done) { progress.update(done); });
  progress.finish();
  matrix.datasets = args.texts;
  write_importance(matrix, args.out);
  report(matrix, args.out);
  warn_beyond_context(model.weights.config, std::min(all, args.chunk), "--chunk");
  return 0;
}

}  // namespace

std::function<int()> declare_imatrix(Args& args) {
  auto options = std::make_shared<ImatrixArgs>();
  args.positional("MODEL", options->model, "a model's folder, GGUF file or repo id");
  args.positionals("TEXT", options->texts,
                   "text files like what the model will read and write; - for standard input");
  args.option("-o,--out", options->out, "the file to write (GGUF, as llama.cpp's)");
  args.option("--chunk", options->chunk, "tokens of one forward pass");
  args.option("--chunks", options->chunks, "stop after so many (0: the whole text)");
  args.flag("--force", options->force, "replace FILE where it is there");
  args.examples(
      "  dure imatrix ./release heldout.txt --out importance.gguf\n"
      "  dure imatrix model.gguf a.txt b.txt --chunks 200 --out importance.gguf\n"
      "  dure quantize ./release model-q4_k_m.gguf Q4_K_M --imatrix importance.gguf\n");
  return [options] { return imatrix(*options); };
}

}  // namespace dure
