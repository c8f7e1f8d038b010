// Three parts: a drawer that holds sources to their shares; two ways to fill rows (a stream, cut
// anywhere; a window of documents, packed best fit); batches for evaluation, in order. A window's
// state is where it began and the row reached: restore() packs it again.
#include "data/packing.h"

#include <algorithm>
#include <numeric>
#include <optional>

#include "base/check.h"
#include "base/error.h"
#include "base/rng.h"
#include "data/permutation.h"

namespace dure {
namespace {

// Appends tokens [begin, end) of a document as a document of the batch. Its last target, and those
// before `first_target` (an index of the whole document), are ignored.
void append_piece(TrainBatch& batch, const TokenDocument& document, size_t begin, size_t end,
                  size_t first_target = 0) {
  for (size_t i = begin; i < end; ++i) {
    batch.ids.push_back(document.ids[i]);
    const size_t next = i + 1;
    const bool learn = next < end && next >= first_target && document.is_trained(next);
    batch.targets.push_back(learn ? document.ids[next] : kIgnoredTarget);
  }
  batch.document_lengths.push_back(static_cast<int64_t>(end - begin));
}

void append_padding(TrainBatch& batch, int64_t count, int32_t pad_id) {
  if (count == 0) return;
  batch.ids.insert(batch.ids.end(), static_cast<size_t>(count), pad_id);
  batch.targets.insert(batch.targets.end(), static_cast<size_t>(count), kIgnoredTarget);
  batch.document_lengths.push_back(count);
}

void clear(TrainBatch& batch) {
  batch.ids.clear();
  batch.targets.clear();
  batch.document_lengths.clear();
}

// Draws documents from several sources in the wanted shares.
class Drawer {
 public:
  Drawer(std::vector<WeightedSource> sources, uint64_t seed)
      : sources_(std::move(sources)), seed_(seed), places_(sources_.size()) {}

  struct Drawn {
    int64_t source, index;
  };

  // Of the sources that may still be drawn from, the one furthest behind its share (the first among
  // equals) gives its next document. Checked: not is_over().
  Drawn draw(TokenDocument& out) {
    size_t chosen = sources_.size();
    for (size_t i = 0; i < sources_.size(); ++i) {
      if (has_given_all(i)) continue;
      if (chosen == sources_.size() || behind(i) < behind(chosen)) chosen = i;
    }
    DURE_CHECK(chosen < sources_.size());
    SourceState& place = places_[chosen];
    const DocumentSource& documents = *sources_[chosen].documents;
    const int64_t count = documents.document_count();
    if (place.position == count) {
      place.epoch += 1;
      place.position = 0;
    }
    const int64_t index = count == DocumentSource::kEndless
                              ? place.position
                              : order(chosen, place.epoch, count).at(place.position);
    place.position += 1;
    documents.read(index, out);
    place.tokens_drawn += std::max<int64_t>(
        std::ssize(out.ids), 1);  // An empty one counts, or it could be drawn for ever.
    return {static_cast<int64_t>(chosen), index};
  }

  bool is_over() const {
    for (size_t i = 0; i < sources_.size(); ++i)
      if (!has_given_all(i)) return false;
    return true;
  }

  std::vector<SourceState>& places() { return places_; }
  const std::vector<SourceState>& places() const { return places_; }
  const WeightedSource& source(int64_t index) const { return sources_[static_cast<size_t>(index)]; }
  size_t source_count() const { return sources_.size(); }

 private:
  double behind(size_t i) const {
    return static_cast<double>(places_[i].tokens_drawn) / sources_[i].weight;
  }
  bool has_given_all(size_t i) const {
    if (sources_[i].draws_max == DocumentSource::kEndless) return false;
    const int64_t count = sources_[i].documents->document_count();
    return places_[i].epoch * count + places_[i].position >= sources_[i].draws_max;
  }
  Permutation order(size_t source, int64_t epoch, int64_t count) const {
    return {count, seed_, stream_id("document order", source, static_cast<uint64_t>(epoch))};
  }

  std::vector<WeightedSource> sources_;
  uint64_t seed_;
  std::vector<SourceState> places_;
};

// Longest first, each into the fullest row it fits; rows then in random order, or the long
// documents would come first.
class WindowPacker {
 public:
  explicit WindowPacker(int64_t row_tokens) : row_tokens_(row_tokens) {}

  // documents: at most row_tokens each. Returns the rows as indices into `documents`.
  std::vector<std::vector<size_t>> pack(const std::vector<TokenDocument>& documents,
                                        Rng rng) const {
    std::vector<size_t> by_length(documents.size());
    std::iota(by_length.begin(), by_length.end(), 0);
    std::stable_sort(by_length.begin(), by_length.end(), [&](size_t a, size_t b) {
      return documents[a].ids.size() > documents[b].ids.size();
    });
    std::vector<std::vector<size_t>> rows;
    std::vector<std::vector<size_t>> rows_by_room(static_cast<size_t>(row_tokens_) +
                                                  1);  // Rows with exactly this room left.
    for (const size_t index : by_length) {
      size_t room = documents[index].ids.size();
      const size_t length = room;
      while (room < rows_by_room.size() && rows_by_room[room].empty()) ++room;
      size_t row = rows.size();
      if (room == rows_by_room.size()) {
        rows.emplace_back();
        room = static_cast<size_t>(row_tokens_);
      } else {
        row = rows_by_room[room].back();
        rows_by_room[room].pop_back();
      }
      rows[row].push_back(index);
      rows_by_room[room - length].push_back(row);
    }
    rng.shuffle(rows);
    return rows;
  }

 private:
  int64_t row_tokens_;
};

}  // namespace

struct BatchSource::State {
  State(std::vector<WeightedSource> sources, const PackingOptions& given)
      : options(given), drawer(std::move(sources), given.seed) {
    place.given.resize(drawer.source_count());
  }

  bool is_over() const {
    const bool in_use =
        options.packing == Packing::kStream ? place.carry_source >= 0 : !rows.empty();
    return !in_use && drawer.is_over();
  }

  void count_given(int64_t source, int64_t documents, int64_t tokens) {
    SourceGiven& given = place.given[static_cast<size_t>(source)];
    given.documents += documents;
    given.tokens += tokens;
  }

  // --- stream
  void stream_row(TrainBatch& out) {
    int64_t room = options.row_tokens;
    while (room > 0) {
      if (place.carry_source < 0 && !draw_carry()) break;
      const size_t begin = static_cast<size_t>(place.carry_offset);
      const size_t count = std::min<size_t>(carry.ids.size() - begin, static_cast<size_t>(room));
      append_piece(out, carry, begin, begin + count);
      count_given(place.carry_source, begin == 0 ? 1 : 0, static_cast<int64_t>(count));
      room -= static_cast<int64_t>(count);
      place.carry_offset += static_cast<int64_t>(count);
      if (begin + count == carry.ids.size()) place.carry_source = -1;
    }
    append_padding(out, room, options.pad_id);
    place.padding_tokens += room;
  }

  bool draw_carry() {
    const std::optional<Drawer::Drawn> drawn = draw_usable(carry, INT64_MAX);
    if (!drawn) return false;
    place.carry_source = drawn->source;
    place.carry_index = drawn->index;
    place.carry_offset = 0;
    return true;
  }

  // --- best fit
  void best_fit_row(TrainBatch& out) {
    if (rows.empty()) pack_window();
    int64_t used = 0;
    if (!rows.empty()) {
      for (const size_t index : rows[static_cast<size_t>(place.window_row)]) {
        const int64_t tokens = std::ssize(window[index].ids);
        append_piece(out, window[index], 0, window[index].ids.size());
        count_given(window_sources[index], 1, tokens);
        used += tokens;
      }
    }
    append_padding(out, options.row_tokens - used, options.pad_id);
    place.padding_tokens += options.row_tokens - used;
    if (++place.window_row < std::ssize(rows)) return;
    rows.clear();
    place.window += 1;
    place.window_row = 0;
    place.dropped_documents += dropped_in_window;
    dropped_in_window = 0;
    place.sources = drawer.places();
  }

  // Fills `window` and `rows` from where place.sources says.
  void pack_window() {
    drawer.places() = place.sources;
    window.clear();
    window_sources.clear();
    dropped_in_window = 0;
    const int64_t wanted = options.window_rows * options.row_tokens;
    int64_t tokens = 0;
    TokenDocument document;
    while (tokens < wanted) {
      const std::optional<Drawer::Drawn> drawn = draw_usable(document, options.row_tokens);
      if (!drawn) break;
      tokens += std::ssize(document.ids);
      window.push_back(document);
      window_sources.push_back(drawn->source);
    }
    rows = WindowPacker(options.row_tokens)
               .pack(window, Rng(options.seed,
                                 stream_id("row order", static_cast<uint64_t>(place.window))));
  }

  // The next document that is neither empty nor longer than `tokens_max`; absent where every source
  // has given all.
  std::optional<Drawer::Drawn> draw_usable(TokenDocument& out, int64_t tokens_max) {
    int64_t tries_max = 10000;
    for (size_t i = 0; i < drawer.source_count(); ++i) {
      const int64_t count = drawer.source(static_cast<int64_t>(i)).documents->document_count();
      if (count != DocumentSource::kEndless) tries_max = std::max(tries_max, 2 * count);
    }
    Drawer::Drawn drawn{};
    for (int64_t i = 0; i < tries_max; ++i) {
      if (drawer.is_over()) return {};
      drawn = drawer.draw(out);
      if (!out.ids.empty() && std::ssize(out.ids) <= tokens_max) return drawn;
      (options.packing == Packing::kStream ? place.dropped_documents : dropped_in_window) += 1;
    }
    fail(ErrorCode::kInvalidArgument,
         "data source '{}': no document of at most {} tokens in {} draws (the last had {}): use "
         "longer rows",
         drawer.source(drawn.source).name, tokens_max, tries_max, out.ids.size());
  }

  PackingOptions options;
  Drawer drawer;
  BatchState place;  // Stream: its sources are the drawer's, copied by state().
  TokenDocument carry;
  std::vector<TokenDocument> window;
  std::vector<int64_t> window_sources;    // Of each document in it.
  std::vector<std::vector<size_t>> rows;  // Of the window; empty: not packed yet.
  int64_t dropped_in_window = 0;
};

BatchSource::BatchSource(std::vector<WeightedSource> sources, const PackingOptions& options) {
  DURE_CHECK(!sources.empty() && options.row_count >= 1 && options.row_tokens >= 2 &&
                 options.window_rows >= 1,
             "{} sources, {} rows of {} tokens", sources.size(), options.row_count,
             options.row_tokens);
  for (const WeightedSource& source : sources) {
    DURE_CHECK(source.weight > 0 && source.draws_max >= 1,
               "source '{}' has weight {}, at most {} draws", source.name, source.weight,
               source.draws_max);
    if (source.documents->document_count() == 0)
      fail(ErrorCode::kInvalidArgument, "data source '{}' holds no document", source.name);
  }
  state_ = std::make_unique<State>(std::move(sources), options);
  state_->place.sources = state_->drawer.places();
}

BatchSource::~BatchSource() = default;

void BatchSource::next(TrainBatch& out) {
  clear(out);
  for (int64_t row = 0; row < state_->options.row_count; ++row) {
    state_->options.packing == Packing::kStream ? state_->stream_row(out)
                                                : state_->best_fit_row(out);
  }
  state_->place.rows += state_->options.row_count;
}

BatchState BatchSource::state() const {
  BatchState copy = state_->place;
  if (state_->options.packing == Packing::kStream) copy.sources = state_->drawer.places();
  return copy;
}

bool BatchSource::is_over() const { return state_->is_over(); }

const std::vector<SourceGiven>& BatchSource::given() const { return state_->place.given; }

const WeightedSource& BatchSource::source(size_t index) const {
  return state_->drawer.source(static_cast<int64_t>(index));
}

int64_t BatchSource::dropped_documents() const {
  return state_->place.dropped_documents + state_->dropped_in_window;
}

void BatchSource::restore(const BatchState& saved) {
  State& state = *state_;
  const auto bad = [](const char* what) {
    fail(ErrorCode::kInvalidArgument,
         "data position: {}: the run was saved with other data sources", what);
  };
  if (saved.sources.size() != state.drawer.source_count()) bad("another number of sources");
  for (size_t i = 0; i < saved.sources.size(); ++i) {
    const SourceState& source = saved.sources[i];
    const int64_t count = state.drawer.source(static_cast<int64_t>(i)).documents->document_count();
    if (source.epoch < 0 || source.position < 0 || source.position > count ||
        source.tokens_drawn < 0)
      bad("a place outside its source");
  }
  if (!saved.given.empty() && saved.given.size() != saved.sources.size())
    bad("counts of another number of sources");
  state.place = saved;
  state.place.given.resize(saved.sources.size());
  state.drawer.places() = saved.sources;
  state.rows.clear();
  if (state.options.packing == Packing::kBestFit) {
    state.pack_window();
    const int64_t end = std::max<int64_t>(1, std::ssize(state.rows));  // Over: no rows, the first.
    if (saved.window_row < 0 || saved.window_row >= end) bad("a row outside its window");
    return;
  }
  if (saved.carry_source < 0) return;
  if (saved.carry_source >= std::ssize(saved.sources)) bad("a document of no source");
  const DocumentSource& documents = *state.drawer.source(saved.carry_source).documents;
  if (saved.carry_index < 0 || saved.carry_index >= documents.document_count())
    bad("a document outside its source");
  documents.read(saved.carry_index, state.carry);
  if (saved.carry_offset < 0 || saved.carry_offset >= std::ssize(state.carry.ids))
    bad("a token outside its document");
}

int64_t count_rows(const std::vector<WeightedSource>& sources, const PackingOptions& options) {
  for (const WeightedSource& source : sources)
    DURE_CHECK(source.draws_max != DocumentSource::kEndless, "'{}' never ends", source.name);
  PackingOptions single = options;
  single.row_count = 1;
  BatchSource rows(sources, single);
  TrainBatch row;
  int64_t count = 0, tokens = 0;
  while (!rows.is_over()) {
    rows.next(row);
    int64_t given = 0;
    for (const SourceGiven& source : rows.given()) given += source.tokens;
    count += given > tokens ? 1 : 0;  // What is left may be documents that fit no row.
    tokens = given;
  }
  return count;
}

EvalBatches::EvalBatches(std::shared_ptr<const DocumentSource> documents, const Options& options)
    : documents_(std::move(documents)), options_(options) {
  DURE_CHECK(options.row_count >= 1 && options.row_tokens >= 2 && options.overlap_tokens >= 0 &&
                 options.overlap_tokens < options.row_tokens,
             "{} rows of {} tokens, {} of overlap", options.row_count, options.row_tokens,
             options.overlap_tokens);
  DURE_CHECK(documents_->document_count() != DocumentSource::kEndless,
             "an endless source cannot be evaluated whole");
}

// Moves to a document with tokens left to place.
bool EvalBatches::load() {
  while (true) {
    if (loaded_ && offset_ < std::ssize(current_.ids)) return true;
    if (loaded_) ++index_;
    loaded_ = false;
    if (index_ >= documents_->document_count()) return false;
    documents_->read(index_, current_);
    loaded_ = true;
    offset_ = 0;
  }
}

bool EvalBatches::fill_row(TrainBatch& out) {
  int64_t room = options_.row_tokens;
  while (room > 0 && load()) {
    const int64_t length = std::ssize(current_.ids);
    const int64_t begin = std::max<int64_t>(0, offset_ - options_.overlap_tokens);
    const int64_t needed = length - begin;
    // A document that would fit a row of its own is not cut to use up this one.
    if (needed > room && room < options_.row_tokens) break;
    const int64_t end = std::min(length, begin + room);
    append_piece(out, current_, static_cast<size_t>(begin), static_cast<size_t>(end),
                 static_cast<size_t>(offset_));
    room -= end - begin;
    offset_ = end;
  }
  if (room == options_.row_tokens) return false;
  append_padding(out, room, options_.pad_id);
  return true;
}

bool EvalBatches::next(TrainBatch& out) {
  clear(out);
  int64_t rows = 0;
  while (rows < options_.row_count && fill_row(out)) ++rows;
  if (rows == 0) return false;
  for (; rows < options_.row_count; ++rows)
    append_padding(out, options_.row_tokens, options_.pad_id);
  return true;
}

}  // namespace dure
