// Packing: masks, document boundaries, each document once an epoch, mixing, and resuming anywhere.
#include "data/packing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/error.h"
#include "base/rng.h"
#include "data/permutation.h"
#include "data/pieces.h"

namespace dure {
namespace {

// Documents whose tokens say who they are: token j of document i is i * 1000 + j.
std::shared_ptr<MemoryDocuments> numbered(int64_t count, int64_t length_max, uint64_t seed,
                                          bool masked = false) {
  Rng rng(seed);
  std::vector<TokenDocument> documents(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    const int64_t length = rng.between(1, length_max);
    for (int64_t j = 0; j < length; ++j) {
      documents[static_cast<size_t>(i)].ids.push_back(static_cast<int32_t>(i * 1000 + j));
      if (masked) documents[static_cast<size_t>(i)].trained.push_back(j * 2 >= length ? 1 : 0);
    }
  }
  return std::make_shared<MemoryDocuments>(std::move(documents));
}

BatchSource source_of(std::shared_ptr<const DocumentSource> documents, Packing packing,
                      int64_t rows, int64_t tokens, uint64_t seed = 1) {
  return BatchSource({{.documents = std::move(documents), .weight = 1, .name = "test"}},
                     {.packing = packing,
                      .row_count = rows,
                      .row_tokens = tokens,
                      .pad_id = 999999,
                      .seed = seed,
                      .window_rows = 8});
}

// The contract of a batch, for numbered documents.
void expect_well_formed(const TrainBatch& batch, int64_t rows, int64_t tokens) {
  ASSERT_EQ(std::ssize(batch.ids), rows * tokens);
  ASSERT_EQ(batch.targets.size(), batch.ids.size());
  int64_t at = 0;
  for (const int64_t length : batch.document_lengths) {
    ASSERT_GE(length, 1);
    ASSERT_EQ(at / tokens, (at + length - 1) / tokens) << "a document spans two rows";
    for (int64_t i = at; i < at + length; ++i) {
      const int32_t target = batch.targets[static_cast<size_t>(i)];
      if (i + 1 == at + length) {
        EXPECT_EQ(target, kIgnoredTarget);
      } else if (target != kIgnoredTarget) {
        EXPECT_EQ(target, batch.ids[static_cast<size_t>(i) + 1]);
      }
    }
    at += length;
  }
  ASSERT_EQ(at, rows * tokens);
}

TEST(Permutation, IsOneForEverySizeAndDiffersBySeed) {
  for (const int64_t count : {1, 2, 3, 7, 16, 17, 255, 256, 257, 1000, 4097}) {
    std::set<int64_t> seen;
    int64_t same = 0;
    const Permutation order(count, 5, 6), other(count, 6, 6);
    for (int64_t i = 0; i < count; ++i) {
      const int64_t value = order.at(i);
      ASSERT_TRUE(value >= 0 && value < count);
      seen.insert(value);
      same += value == other.at(i);
    }
    EXPECT_EQ(std::ssize(seen), count);
    if (count >= 255) {
      EXPECT_LT(same, 12) << count;
    }
  }
}

// Where a document lands is spread evenly: chi-squared over 16 cells, 4096 draws of the image of
// index 0.
TEST(Permutation, SpreadsEvenly) {
  std::array<int64_t, 16> cells{};
  for (uint64_t seed = 0; seed < 4096; ++seed)
    cells[static_cast<size_t>(Permutation(16, seed, 1).at(0))] += 1;
  double chi_squared = 0;
  for (const int64_t cell : cells)
    chi_squared += static_cast<double>((cell - 256) * (cell - 256)) / 256.0;
  EXPECT_LT(chi_squared, 45);  // 15 degrees of freedom: above 45 once in 10,000.
}

TEST(Packing, StreamUsesEveryTokenOncePerEpochWithoutPadding) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const auto documents = numbered(40, 90, seed);
    int64_t total = 0;
    TokenDocument document;
    for (int64_t i = 0; i < documents->document_count(); ++i) {
      documents->read(i, document);
      total += std::ssize(document.ids);
    }
    BatchSource source = source_of(documents, Packing::kStream, 2, 32, seed);
    std::vector<int32_t> stream;
    for (int64_t i = 0; i * 64 < 2 * total; ++i) {
      const TrainBatch batch = source.next();
      expect_well_formed(batch, 2, 32);
      stream.insert(stream.end(), batch.ids.begin(), batch.ids.end());
    }
    for (int epoch = 0; epoch < 2; ++epoch) {
      std::vector<int32_t> seen(stream.begin() + epoch * total,
                                stream.begin() + (epoch + 1) * total);
      EXPECT_TRUE(std::find(seen.begin(), seen.end(), 999999) == seen.end());
      std::sort(seen.begin(), seen.end());
      EXPECT_TRUE(std::adjacent_find(seen.begin(), seen.end()) == seen.end())
          << "a token twice in an epoch";
    }
    EXPECT_NE(std::vector<int32_t>(stream.begin(), stream.begin() + total),
              std::vector<int32_t>(stream.begin() + total, stream.begin() + 2 * total))
        << "two epochs in the same order";
  }
}

TEST(Packing, TargetsAreTheNextTokenOfTheSameDocument) {
  const auto documents = numbered(30, 50, 3);
  BatchSource source = source_of(documents, Packing::kStream, 4, 16);
  for (int i = 0; i < 50; ++i) {
    const TrainBatch batch = source.next();
    int64_t at = 0;
    for (const int64_t length : batch.document_lengths) {
      for (int64_t j = at; j + 1 < at + length; ++j)
        EXPECT_EQ(batch.targets[static_cast<size_t>(j)], batch.ids[static_cast<size_t>(j)] + 1);
      for (int64_t j = at; j < at + length; ++j)
        EXPECT_EQ(batch.ids[static_cast<size_t>(j)] / 1000,
                  batch.ids[static_cast<size_t>(at)] / 1000);
      at += length;
    }
  }
}

TEST(Packing, BestFitKeepsDocumentsWholeAndMasksWhatIsNotTrained) {
  const auto documents = numbered(60, 32, 9, true);
  BatchSource source = source_of(documents, Packing::kBestFit, 2, 32);
  std::map<int32_t, int64_t> seen;
  TokenDocument document;
  while (source.state().sources[0].epoch < 3) {
    const TrainBatch batch = source.next();
    expect_well_formed(batch, 2, 32);
    int64_t at = 0;
    for (const int64_t length : batch.document_lengths) {
      const int32_t first = batch.ids[static_cast<size_t>(at)];
      if (first == 999999) {
        for (int64_t j = at; j < at + length; ++j)
          EXPECT_EQ(batch.targets[static_cast<size_t>(j)], kIgnoredTarget);
      } else {
        ASSERT_EQ(first % 1000, 0) << "a document does not begin at its beginning";
        documents->read(first / 1000, document);
        ASSERT_EQ(std::ssize(document.ids), length);
        for (int64_t j = 0; j + 1 < length; ++j) {
          const bool learn = document.trained[static_cast<size_t>(j) + 1] != 0;
          EXPECT_EQ(batch.targets[static_cast<size_t>(at + j)],
                    learn ? document.ids[static_cast<size_t>(j) + 1] : kIgnoredTarget);
        }
        seen[first / 1000] += 1;
      }
      at += length;
    }
  }
  ASSERT_EQ(seen.size(), 60u);
  for (const auto& [index, count] : seen)
    EXPECT_TRUE(count >= 2 && count <= 4) << index << " seen " << count;
}

TEST(Packing, BestFitWastesLittle) {
  BatchSource source({{.documents = numbered(500, 120, 4), .weight = 1, .name = "test"}},
                     {.packing = Packing::kBestFit,
                      .row_count = 4,
                      .row_tokens = 256,
                      .seed = 1,
                      .window_rows = 128});
  for (int i = 0; i < 200; ++i) source.next();
  const double share = static_cast<double>(source.state().padding_tokens) / (200.0 * 4 * 256);
  EXPECT_LT(share, 0.02);
}

TEST(Packing, LongDocumentsAreDroppedAndCounted) {
  const auto documents = numbered(50, 40, 6);
  BatchSource dropping = source_of(documents, Packing::kBestFit, 1, 20);
  for (int i = 0; i < 60; ++i) expect_well_formed(dropping.next(), 1, 20);
  EXPECT_GT(dropping.state().dropped_documents, 10);
  std::vector<TokenDocument> long_ones(3);
  for (TokenDocument& document : long_ones) document.ids.assign(50, 1);
  BatchSource hopeless =
      source_of(std::make_shared<MemoryDocuments>(long_ones), Packing::kBestFit, 1, 20);
  EXPECT_THROW(hopeless.next(), Error);
  EXPECT_THROW(source_of(std::make_shared<MemoryDocuments>(std::vector<TokenDocument>{}),
                         Packing::kStream, 1, 20),
               Error);
  BatchSource empty_documents = source_of(
      std::make_shared<MemoryDocuments>(std::vector<TokenDocument>(2)), Packing::kStream, 1, 20);
  EXPECT_THROW(empty_documents.next(), Error);
}

TEST(Packing, ResumingAnywhereGivesTheSameBits) {
  Rng rng(12);
  for (const Packing packing : {Packing::kStream, Packing::kBestFit}) {
    for (int round = 0; round < 25; ++round) {
      const uint64_t seed = rng.next_u64();
      const auto make = [&] {
        return BatchSource(
            {{.documents = numbered(37, 45, 1), .weight = 3, .name = "a"},
             {.documents = numbered(11, 20, 2, true), .weight = 1, .name = "b"}},
            {.packing = packing, .row_count = 3, .row_tokens = 40, .seed = seed, .window_rows = 5});
      };
      BatchSource straight = make(), stopped = make();
      const int64_t before = rng.below(60);
      for (int64_t i = 0; i < before; ++i) {
        straight.next();
        stopped.next();
      }
      const std::string saved = to_json(stopped.state()).dump();
      BatchSource resumed = make();
      BatchState state;
      from_json(state, parse_json(saved, "state"), "state");
      resumed.restore(state);
      for (int i = 0; i < 40; ++i) {
        const TrainBatch a = straight.next(), b = resumed.next();
        ASSERT_EQ(a.ids, b.ids);
        ASSERT_EQ(a.targets, b.targets);
        ASSERT_EQ(a.document_lengths, b.document_lengths);
      }
      EXPECT_EQ(to_json(straight.state()), to_json(resumed.state()));
    }
  }
}

// Documents of one length, as many as a window of 8 rows takes: the order is that of the rows.
TEST(Packing, EveryEpochAndWindowHasAnOrderOfItsOwn) {
  for (const Packing packing : {Packing::kStream, Packing::kBestFit}) {
    std::vector<TokenDocument> documents(8);
    for (int32_t i = 0; i < 8; ++i) documents[static_cast<size_t>(i)].ids.assign(4, i);
    const auto all = std::make_shared<MemoryDocuments>(documents);
    std::set<std::vector<int32_t>> orders;
    BatchSource source = source_of(all, packing, 8, 4);
    for (int epoch = 0; epoch < 6; ++epoch) {
      const TrainBatch batch = source.next();
      std::vector<int32_t> order;
      for (size_t row = 0; row < 8; ++row) order.push_back(batch.ids[4 * row]);
      orders.insert(order);
      std::sort(order.begin(), order.end());
      EXPECT_EQ(order, (std::vector<int32_t>{0, 1, 2, 3, 4, 5, 6, 7}));
    }
    EXPECT_GE(orders.size(), 5u);
  }
}

// The documents come in order, so what differs from window to window is the order of the rows.
TEST(Packing, EveryWindowShufflesItsRowsAnew) {
  class Endless : public DocumentSource {
   public:
    int64_t document_count() const override { return kEndless; }
    void read(int64_t index, TokenDocument& out) const override {
      out.clear();
      out.ids.assign(4, static_cast<int32_t>(index));
    }
  };
  std::set<std::vector<int32_t>> orders;
  BatchSource source = source_of(std::make_shared<Endless>(), Packing::kBestFit, 8, 4);
  for (int32_t window = 0; window < 6; ++window) {
    const TrainBatch batch = source.next();
    std::vector<int32_t> order;
    for (size_t row = 0; row < 8; ++row) order.push_back(batch.ids[4 * row] - 8 * window);
    orders.insert(order);
  }
  EXPECT_GE(orders.size(), 5u);
}

TEST(Packing, SourcesAreMixedByWeightInTokens) {
  const auto even = numbered(100, 50, 1);
  std::vector<TokenDocument> marked(30);
  for (TokenDocument& document : marked) document.ids.assign(17, 7777777);
  BatchSource source(
      {{.documents = even, .weight = 3, .name = "a"},
       {.documents = std::make_shared<MemoryDocuments>(marked), .weight = 1, .name = "b"}},
      {.row_count = 4, .row_tokens = 64, .seed = 2});
  int64_t from_b = 0, all = 0;
  for (int i = 0; i < 100; ++i) {
    for (const int32_t id : source.next().ids) {
      from_b += id == 7777777;
      ++all;
    }
  }
  EXPECT_NEAR(static_cast<double>(from_b) / static_cast<double>(all), 0.25, 0.005);
}

TEST(Packing, StatesOfOtherSourcesAreRefused) {
  BatchSource source = source_of(numbered(5, 9, 1), Packing::kStream, 1, 8);
  source.next();
  BatchState state = source.state();
  const auto with = [&](auto change) {
    BatchState changed = state;
    change(changed);
    return changed;
  };
  EXPECT_THROW(source.restore(with([](BatchState& s) { s.sources.clear(); })), Error);
  EXPECT_THROW(source.restore(with([](BatchState& s) { s.sources[0].position = 6; })), Error);
  EXPECT_THROW(source.restore(with([](BatchState& s) { s.sources[0].epoch = -1; })), Error);
  EXPECT_THROW(source.restore(with([](BatchState& s) {
    s.carry_source = 0;
    s.carry_index = 5;
  })),
               Error);
  EXPECT_THROW(source.restore(with([](BatchState& s) {
    s.carry_source = 0;
    s.carry_offset = 100;
  })),
               Error);
  EXPECT_NO_THROW(source.restore(state));
}

// --- Sources that end: epochs.

std::vector<WeightedSource> ending_sources() {
  return {{.documents = numbered(20, 9, 1), .weight = 2, .name = "a", .draws_max = 50},
          {.documents = numbered(7, 5, 2), .weight = 1, .name = "b", .draws_max = 7}};
}

PackingOptions ending_options(Packing packing) {
  return {.packing = packing,
          .row_count = 2,
          .row_tokens = 16,
          .pad_id = 999999,
          .seed = 5,
          .window_rows = 4};
}

TEST(Packing, SourcesEndWithTheirEpochsAndTheRestIsPadding) {
  for (const Packing packing : {Packing::kStream, Packing::kBestFit}) {
    BatchSource source(ending_sources(), ending_options(packing));
    TrainBatch batch;
    int64_t batches = 0;
    for (; !source.is_over(); ++batches) {
      ASSERT_LT(batches, 1000);
      source.next(batch);
      expect_well_formed(batch, 2, 16);
    }
    EXPECT_EQ(source.given()[0].documents, 50);
    EXPECT_EQ(source.given()[1].documents, 7);
    const int64_t rows = count_rows(ending_sources(), ending_options(packing));
    EXPECT_EQ(batches, (rows + 1) / 2);
    const std::vector<SourceGiven> given = source.given();
    source.next(batch);
    EXPECT_EQ(std::count(batch.ids.begin(), batch.ids.end(), 999999), 32);
    EXPECT_EQ(source.given()[0].tokens, given[0].tokens);
    EXPECT_TRUE(source.is_over());
  }
}

// Twice and a half through 20 documents: each two or three times, none a fourth.
TEST(Packing, PartsOfEpochsAreTheirBeginning) {
  BatchSource source(ending_sources(), ending_options(Packing::kBestFit));
  std::map<int32_t, int> seen;
  while (!source.is_over()) {
    const TrainBatch batch = source.next();
    int64_t at = 0;
    for (const int64_t length : batch.document_lengths) {
      const int32_t id = batch.ids[static_cast<size_t>(at)];
      if (id != 999999) ++seen[id / 1000];
      at += length;
    }
  }
  int total = 0;
  for (const auto& [document, count] : seen) {
    EXPECT_GE(count, 2);
    EXPECT_LE(count, 4);  // Documents 0 to 6 are those of the other source too.
    total += count;
  }
  EXPECT_EQ(total, 57);
}

TEST(Packing, ResumingCountsAndEndsAsIfNothingHadHappened) {
  for (const Packing packing : {Packing::kStream, Packing::kBestFit}) {
    BatchSource whole(ending_sources(), ending_options(packing));
    for (int cut = 0; !whole.is_over(); ++cut) {
      BatchSource again(ending_sources(), ending_options(packing));
      BatchState state;
      from_json(state, to_json(whole.state()), "state");
      again.restore(state);
      whole.next();
      again.next();
      EXPECT_EQ(to_json(again.state()).dump(), to_json(whole.state()).dump()) << cut;
      EXPECT_EQ(again.is_over(), whole.is_over());
    }
    BatchSource over(ending_sources(), ending_options(packing));
    over.restore(whole.state());
    EXPECT_TRUE(over.is_over());
  }
}

TEST(Packing, StatesOfOlderRunsCountFromWhereTheyStand) {
  BatchSource source(ending_sources(), ending_options(Packing::kStream));
  source.next();
  BatchState state = source.state();
  state.given.clear();
  BatchSource again(ending_sources(), ending_options(Packing::kStream));
  again.restore(state);
  EXPECT_EQ(again.given()[0].tokens, 0);
  EXPECT_EQ(source.next().ids, again.next().ids);
}

TEST(Evaluation, PredictsEveryTokenButEachDocumentsFirst) {
  const auto documents = numbered(25, 100, 8);
  for (const int64_t overlap : {0, 1, 8, 31}) {
    EvalBatches batches(
        documents, {.row_count = 2, .row_tokens = 32, .overlap_tokens = overlap, .pad_id = 999999});
    std::map<int32_t, int64_t> predicted;
    TrainBatch batch;
    while (batches.next(batch)) {
      expect_well_formed(batch, 2, 32);
      for (const int32_t target : batch.targets) {
        if (target != kIgnoredTarget) predicted[target] += 1;
      }
    }
    TokenDocument document;
    int64_t missing = 0;
    for (int64_t i = 0; i < 25; ++i) {
      documents->read(i, document);
      for (size_t j = 1; j < document.ids.size(); ++j) {
        ASSERT_LE(predicted[document.ids[j]], 1);
        missing += predicted[document.ids[j]] == 0;
      }
      ASSERT_EQ(predicted[document.ids[0]], 0);
    }
    EXPECT_EQ(missing == 0, overlap > 0) << "overlap " << overlap;
  }
}

TEST(Pieces, TogetherAreTheDocuments) {
  const auto documents = numbered(40, 70, 5, /*masked=*/true);
  const PiecedDocuments pieces(documents, 16);
  TokenDocument piece, document;
  int64_t index = 0;
  for (int64_t i = 0; i < documents->document_count(); ++i) {
    documents->read(i, document);
    std::vector<int32_t> ids;
    std::vector<uint8_t> trained;
    const size_t length = document.ids.size(),
                 wanted = length > 1 && length % 16 == 1
                              ? length - 1
                              : length;  // A lone last token is left out.
    while (ids.size() < wanted) {
      pieces.read(index++, piece);
      ASSERT_LE(piece.ids.size(), 16u);
      ids.insert(ids.end(), piece.ids.begin(), piece.ids.end());
      trained.insert(trained.end(), piece.trained.begin(), piece.trained.end());
    }
    document.ids.resize(wanted);
    document.trained.resize(wanted);
    ASSERT_EQ(ids, document.ids);
    ASSERT_EQ(trained, document.trained);
  }
  EXPECT_EQ(index, pieces.document_count());
}

}  // namespace
}  // namespace dure
