// Bytes of a whole step as the transport carried them, beside the arithmetic that `dure plan` uses.
#include <map>
#include <mutex>
#include <thread>

#include "comm/thread_transport.h"
#include "tiny_runs.h"
#include "train/rank_traffic.h"
#include "train/stage_cut.h"

namespace dure {
namespace {

// Counts what this rank sends, by what it is for: "step 2, losses".
using BytesSent = std::map<std::string, int64_t, std::less<>>;

class CountingTransport : public Transport {
 public:
  explicit CountingTransport(Transport& below) : below_(below) {}
  int rank() const override { return below_.rank(); }
  int size() const override { return below_.size(); }
  const std::string& host(int rank) const override { return below_.host(rank); }
  std::unique_ptr<Underway> start(int channel, std::span<const Outgoing> out,
                                  std::span<const Incoming> in) override {
    int64_t bytes = 0;
    for (const Outgoing& o : out) bytes += std::ssize(o.bytes);
    return std::make_unique<Counted>(below_.start(channel, out, in), *this, bytes);
  }
  void post(int channel, int to, std::vector<std::byte> bytes) override {
    count("posted", std::ssize(bytes));
    below_.post(channel, to, std::move(bytes));
  }
  void set_gone(int rank) noexcept override { below_.set_gone(rank); }
  void announce(const FailureNotice& notice) noexcept override { below_.announce(notice); }
  bool lower_rank_failed(double wait_s) noexcept override {
    return below_.lower_rank_failed(wait_s);
  }
  const BytesSent& sent() const { return sent_; }

 private:
  class Counted : public Underway {
   public:
    Counted(std::unique_ptr<Underway> below, CountingTransport& all, int64_t bytes)
        : below_(std::move(below)), all_(all), bytes_(bytes) {}
    void advance() override { below_->advance(); }
    bool look(const WaitFacts& facts) override { return below_->look(facts); }
    void wait(const WaitFacts& facts) override {
      all_.count(facts.what, bytes_);
      below_->wait(facts);
    }

   private:
    std::unique_ptr<Underway> below_;
    CountingTransport& all_;
    int64_t bytes_;
  };

  void count(std::string_view what, int64_t bytes) {
    const std::lock_guard lock(mutex_);
    sent_[std::string(what)] += bytes;
  }

  Transport& below_;
  std::mutex mutex_;  // gradients are summed on a thread of their own
  BytesSent sent_;
};

class RankTraffic : public TinyRuns {
 protected:
  TrainConfig run_of(const MeshShape& ranks, OptimiserKind kind) const {
    TrainConfig c = config(fmt::format("{}-{}-{}", ranks.data, ranks.pipeline, name_of(kind)));
    c.steps = 3;
    c.batch = {.rows = 8, .tokens = 32, .micro_rows = 1};
    c.record = {.checkpoint_steps = 1000, .checkpoint_minutes = 0};
    c.optimiser.kind = kind;
    c.ranks = {.data = ranks.data, .pipeline = ranks.pipeline};
    return c;
  }

  // By rank.
  static std::vector<BytesSent> bytes_sent(const TrainConfig& c) {
    const int ranks = static_cast<int>(c.ranks.count());
    ThreadWorld world(ranks);
    std::vector<BytesSent> out(static_cast<size_t>(ranks));
    std::vector<int> members;
    for (int r = 0; r < ranks; ++r) members.push_back(r);
    std::vector<std::thread> threads;
    for (int r = 0; r < ranks; ++r) {
      threads.emplace_back([&, r] {
        CountingTransport transport(world.transport(r));
        Group group(transport, members, 0, 60);
        run_training(c, parse_json(kModel, "model"), "test.yaml", group);
        out[static_cast<size_t>(r)] = transport.sent();
      });
    }
    for (std::thread& thread : threads) thread.join();
    return out;
  }
};

void expect_line(const BytesSent& sent, const char* what, double planned) {
  const auto found = sent.find(std::string("step 2, ") + what);
  ASSERT_NE(found, sent.end()) << what;
  EXPECT_EQ(static_cast<double>(found->second), planned) << what;
}

// All that belongs to the second step of a run, line by line and together. What stages post has no
// name on the way: a third of the run's.
void expect_step(const BytesSent& sent, const StepTraffic& planned, const MeshShape& shape) {
  expect_line(sent, "expert counts", planned.counts);
  if (shape.data > 1) {
    expect_line(sent, "sum of gradients", planned.gradients);
    expect_line(sent, "gather of weights", planned.weights);
  }
  expect_line(sent, "gradient norm", planned.norm);
  expect_line(sent, "end of the step", votes_sent(shape));
  const auto posted = sent.find("posted");
  const int64_t stages = posted == sent.end() ? 0 : posted->second;
  EXPECT_EQ(static_cast<double>(stages), 3 * planned.stages);
  int64_t together = stages / 3;
  for (const auto& [what, bytes] : sent) together += what.starts_with("step 2, ") ? bytes : 0;
  EXPECT_EQ(static_cast<double>(together), planned.total() + votes_sent(shape));
}

TEST_F(RankTraffic, OfAStepIsTheArithmetic) {
  for (const auto& [shape, kind] : {std::pair(MeshShape{.data = 2}, OptimiserKind::kMuon),
                                    {MeshShape{.data = 4}, OptimiserKind::kMuon},
                                    {MeshShape{.data = 4}, OptimiserKind::kAdamW},
                                    {MeshShape{.pipeline = 2}, OptimiserKind::kMuon},
                                    {MeshShape{.data = 2, .pipeline = 2}, OptimiserKind::kMuon}}) {
    const TrainConfig c = run_of(shape, kind);
    const std::vector<BytesSent> all = bytes_sent(c);
    const ModelConfig model = ModelFiles(Path(c.output) / "model", Extent::kHeader).config();
    LearnerOptions options{.parts = c.batch.step_parts()};
    options.optimiser.kind = kind;
    if (shape.pipeline > 1) options.stage_layers = cut_layers(model, shape.pipeline, true);
    for (int64_t r = 0; r < shape.count(); ++r) {
      SCOPED_TRACE(
          fmt::format("{}, rank {} of {} x {}", name_of(kind), r, shape.data, shape.pipeline));
      const ExchangedRows rows{.passes = 8 / shape.data,
                               .tokens = 256.0 / static_cast<double>(shape.data)};
      expect_step(all[static_cast<size_t>(r)],
                  step_traffic(model, options, shape, place_in(shape, r), rows), shape);
    }
  }
}

}  // namespace
}  // namespace dure
