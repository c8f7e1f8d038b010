// How fast is the tokenizer? Encodes and trains on a text file, a line a sequence, on one thread;
// one JSON line out.
//   bench_tokenizer TOKENIZER.json CORPUS.txt [VOCAB_SIZE WORDS_SIZE]
// tools/bench_tokenizer_peer.py runs this beside the `tokenizers` library on the same file.
#include "text/tokenizer.h"

#include <time.h>

#include <cstdio>
#include <cstdlib>

#include "base/error.h"
#include "bench_main.h"
#include "text/bpe_trainer.h"
#include "timing.h"

namespace dure {
namespace {

// Processor time of this process: all of it is one thread's.
template <typename Work>
void for_lines(std::string_view text, const Work& work) {
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    work(text.substr(begin, end - begin));
    begin = end + 1;
  }
}

// Best of several runs: seconds.
template <typename Work>
double best_of(int run_count, const Work& work) {
  double best = 1e9;
  for (int i = 0; i < run_count; ++i) {
    const double start = now_s();
    work();
    best = std::min(best, now_s() - start);
  }
  return best;
}

void train(std::string_view text, int64_t vocab_size, int64_t words_size) {
  BpeTrainerOptions options;
  options.vocab_size = vocab_size;
  options.words_size = words_size;
  BpeTrainer trainer(options);
  for_lines(text, [&](std::string_view line) { trainer.add(line); });
  trainer.train();
}

int run(int argc, char** argv) {
  if (argc != 3 && argc != 5)
    fail(ErrorCode::kInvalidArgument, "usage: {} TOKENIZER.json CORPUS.txt [VOCAB_SIZE WORDS_SIZE]",
         argv[0]);
  const std::string text = read_file(argv[2]);
  double load_s = now_s();
  const Tokenizer tokenizer = Tokenizer::load(argv[1]);
  load_s = now_s() - load_s;
  std::vector<int32_t> ids;
  const double cold_s = best_of(1, [&] {
    for_lines(text, [&](std::string_view line) { tokenizer.encode_to(line, {}, ids); });
  });
  const double encode_s = best_of(5, [&] {
    ids.clear();
    for_lines(text, [&](std::string_view line) { tokenizer.encode_to(line, {}, ids); });
  });
  const double decode_s = best_of(3, [&] { tokenizer.decode(ids); });
  const double mb = static_cast<double>(text.size()) / 1e6;
  std::printf(
      "{\"bytes\": %zu, \"tokens\": %zu, \"load_s\": %.4f, \"encode_cold_mb_s\": %.2f, "
      "\"encode_mb_s\": %.2f, \"decode_mb_s\": %.2f",
      text.size(), ids.size(), load_s, mb / cold_s, mb / encode_s, mb / decode_s);
  if (argc == 5) {
    const int64_t vocab_size = std::atoll(argv[3]), words_size = std::atoll(argv[4]);
    std::printf(", \"train_words_s\": %.3f",
                best_of(2, [&] { train(text, words_size, words_size); }));
    std::printf(", \"train_super_s\": %.3f",
                best_of(2, [&] { train(text, vocab_size, words_size); }));
  }
  std::printf("}\n");
  return 0;
}

}  // namespace
}  // namespace dure

int main(int argc, char** argv) { return dure::bench_main(dure::run, argc, argv); }
