// What drafts gain on a model's own text: MODEL and a file of prompts, a line each (texts to go on
// with, or with "chat" messages to answer), continued plainly and with every way of drafting,
// greedily and sampled, alone and together. Tokens a second, of drafts the share that stood, by
// position too. All ways take turns, and all give the same tokens.
#include <cmath>
#include <cstdio>
#include <sstream>

#include "base/file.h"
#include "base/rng.h"
#include "bench_main.h"
#include "chat/conversation.h"
#include "chat/open_model.h"
#include "engine/generator.h"
#include "engine/ngram_index.h"
#include "tensor/cpu_stream.h"
#include "timing.h"

namespace dure {
namespace {

struct Way {
  const char* name;
  DrafterChoice drafter;
  DraftLength length;
  int64_t drafts;
};
constexpr std::array kWays = {
    Way{"plain", DrafterChoice::kMtp, DraftLength::kFixed, 0},
    Way{"mtp 1", DrafterChoice::kMtp, DraftLength::kFixed, 1},
    Way{"mtp 2", DrafterChoice::kMtp, DraftLength::kFixed, 2},
    Way{"mtp 4", DrafterChoice::kMtp, DraftLength::kFixed, 4},
    Way{"mtp auto", DrafterChoice::kMtp, DraftLength::kMeasured, 8},
    Way{"ngram 4", DrafterChoice::kNgram, DraftLength::kFixed, 4},
    Way{"ngram auto", DrafterChoice::kNgram, DraftLength::kMeasured, 8},
    Way{"auto", DrafterChoice::kAuto, DraftLength::kMeasured, 8},
};

struct Setting {
  const char* name;
  SamplingOptions sampling;
  int64_t sequences;
};

class Comparison {
 public:
  Comparison(const ModelWeights& weights, Stream& stream, const Setting& setting,
             std::vector<std::vector<int32_t>> prompts, int64_t new_tokens,
             const std::vector<int32_t>& stops)
      : weights_(weights), stream_(stream), setting_(setting) {
    size_t longest = 0;
    for (size_t i = 0; i < prompts.size(); ++i) {
      longest = std::max(longest, prompts[i].size());
      requests_.push_back({.prompt = std::move(prompts[i]),
                           .sampling = setting.sampling,
                           .new_tokens_max = new_tokens,
                           .stop_tokens = stops,
                           .stream = i});
    }
    context_ = static_cast<int64_t>(longest) + new_tokens;
  }

  void run(int rounds) {
    std::vector<std::unique_ptr<Generator>> generators;
    std::vector<double> seconds(kWays.size(), 1e30);
    for (const Way& way : kWays) generators.push_back(generator_of(way));
    for (int round = 0; round < rounds; ++round) {
      for (size_t i = 0; i < kWays.size(); ++i) {
        const double start = now_s();
        const std::vector<Generation> got = generators[i]->run(requests_);
        seconds[i] = std::min(seconds[i], now_s() - start);
        compare(got);
      }
    }
    for (size_t i = 0; i < kWays.size(); ++i)
      print(kWays[i], seconds[i], seconds[0], generators[i]->statistics());
  }

 private:
  std::unique_ptr<Generator> generator_of(const Way& way) const {
    return std::make_unique<Generator>(weights_,
                                       GeneratorOptions{.sequences_max = setting_.sequences,
                                                        .context_tokens_max = context_,
                                                        .draft_tokens_max = way.drafts,
                                                        .drafter = way.drafter,
                                                        .draft_length = way.length},
                                       stream_);
  }

  void compare(const std::vector<Generation>& got) {
    tokens_ = 0;
    for (const Generation& g : got) tokens_ += std::ssize(g.tokens);
    if (first_.empty()) first_ = got;
    for (size_t i = 0; i < got.size(); ++i) {
      if (got[i].tokens != first_[i].tokens ||
          got[i].log_probabilities != first_[i].log_probabilities)
        fail(ErrorCode::kInvalidArgument, "request {} has other tokens with drafts", i);
    }
  }

  void print(const Way& way, double seconds, double plain_seconds,
             const GeneratorStatistics& s) const {
    std::printf("| %s x%lld | %-10s | %9.1f | %6.3f |", setting_.name,
                static_cast<long long>(setting_.sequences), way.name,
                static_cast<double>(tokens_) / seconds, plain_seconds / seconds);
    const DraftStatistics& d = s.drafts;
    int64_t passes = 0;
    for (const int64_t n : d.lengths) passes += n;
    if (s.drafted == 0) {
      std::printf(" | | |\n");
      return;
    }
    std::printf(" %5.2f | %4.2f |", static_cast<double>(s.drafted) / static_cast<double>(passes),
                static_cast<double>(s.accepted) / static_cast<double>(s.drafted));
    for (size_t i = 0; i < 4; ++i) {
      const int64_t reached = i == 0 ? d.drafted_at[0] : d.accepted_at[i - 1];
      if (reached > 0 && d.drafted_at[i] > 0)
        std::printf(" %.2f", static_cast<double>(d.accepted_at[i]) / static_cast<double>(reached));
    }
    std::printf(" |\n");
    std::fflush(stdout);
  }

  const ModelWeights& weights_;
  Stream& stream_;
  const Setting& setting_;
  std::vector<GenerationRequest> requests_;
  std::vector<Generation> first_;
  int64_t context_ = 0, tokens_ = 0;
};

// What the index of n-grams takes a token, by the length of the text: words drawn as Zipf's law has
// them, 153,600 ids.
void measure_index() {
  std::printf("\n| tokens of a text | ns a token | bytes a token |\n|--:|--:|--:|\n");
  for (const int64_t tokens : {1'000, 10'000, 100'000, 262'144}) {
    Rng rng(7);
    NgramIndex index;
    const double start = thread_s();
    for (int64_t i = 0; i < tokens; ++i)
      index.add(static_cast<int32_t>(std::pow(153'600.0, rng.uniform())));
    std::printf("| %lld | %.0f | %.0f |\n", static_cast<long long>(tokens),
                (thread_s() - start) / static_cast<double>(tokens) * 1e9,
                static_cast<double>(index.bytes()) / static_cast<double>(tokens));
  }
}

int run(int argc, char** argv) {
  if (argc < 3)
    fail(ErrorCode::kInvalidArgument, "usage: MODEL PROMPTS [NEW_TOKENS] [ROUNDS] [chat]");
  const OpenModel model = open_model(argv[1], Arithmetic::kInteger8);
  const int64_t new_tokens = argc > 3 ? std::atoll(argv[3]) : 128;
  const int rounds = argc > 4 ? std::atoi(argv[4]) : 2;
  std::istringstream lines(read_file(argv[2]));
  std::vector<std::vector<int32_t>> prompts;
  for (std::string line; std::getline(lines, line) && prompts.size() < 8;) {
    Conversation conversation(model.texts);
    conversation.add({.role = Role::kUser, .content = line});
    prompts.push_back(argc > 5 ? conversation.prompt()
                               : model.texts.require_tokenizer().encode(line));
    if (prompts.back().empty()) prompts.pop_back();
  }
  CpuStream stream(ThreadPool::default_thread_count());
  std::printf(
      "| setting | drafts | tokens/s | gain | drafts a pass | stood | of those reached, by "
      "position "
      "|\n|---|---|--:|--:|--:|--:|---|\n");
  const SamplingOptions greedy{.temperature = 0}, family{.temperature = 1, .top_p = 0.95},
      whole{.temperature = 1};
  for (const Setting& setting :
       {Setting{"greedy", greedy, 1}, Setting{"T 1, top-p 0.95", family, 1},
        Setting{"T 1", whole, 1}, Setting{"T 1, top-p 0.95", family, 8}})
    Comparison(model.weights, stream, setting, prompts, new_tokens,
               argc > 5 ? model.texts.stops.tokens : std::vector<int32_t>())
        .run(rounds);
  measure_index();
  return 0;
}

}  // namespace
}  // namespace dure

int main(int argc, char** argv) { return dure::bench_main(dure::run, argc, argv); }
