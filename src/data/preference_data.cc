// Rows are read, judged and tokenised one by one; mismatched responses are made when a file is
// read.
#include "data/preference_data.h"

#include <algorithm>

#include "base/error.h"
#include "base/hash.h"
#include "base/log.h"
#include "data/input.h"
#include "data/json_rows.h"
#include "data/preference_record.h"
#include "data/records.h"
#include "text/chat.h"

namespace dure {
namespace {

// Fixed: a prompt keeps its side.
constexpr uint64_t kSplitSeed = 0x7072656665726865;

bool is_held_out(const PreferenceRecord& record, double fraction) {
  const uint64_t hash = xxh64(record.tools.dump(), xxh64(record.prompt.dump(), kSplitSeed));
  return static_cast<double>(hash >> 11) * 0x1p-53 < fraction;
}

bool learns_nothing(const TokenDocument& document) {
  return std::find(document.trained.begin(), document.trained.end(), 1) == document.trained.end();
}

// The first of the largest rewards, the first of the smallest; equal where all are.
struct Extremes {
  size_t best = 0, worst = 0;
};
Extremes extremes_of(const std::vector<double>& rewards) {
  const auto best = std::max_element(rewards.begin(), rewards.end());
  const auto worst = std::min_element(rewards.begin(), rewards.end());
  return {static_cast<size_t>(best - rewards.begin()),
          static_cast<size_t>(worst - rewards.begin())};
}

// A response whose mismatched twin is made when all rows are known.
struct Waiting {
  Json prompt, tools, response;
  std::string where;
  bool held_out = false;
  size_t index = 0;  // of its item on that side
};

class FileReader {
 public:
  FileReader(const PreferenceDataOptions& options, PreferenceShape shape, int64_t length_max,
             const TrainingFormat& format, const std::string& path)
      : options_(options), shape_(shape), length_max_(length_max), format_(format), path_(path) {}

  void read(std::vector<PreferenceItem>& learnt, std::vector<PreferenceItem>& heldout) {
    sides_[0] = &learnt;
    sides_[1] = &heldout;
    const size_t heldout_before = heldout.size();
    for_each_row(path_, [&](const std::string& text, int64_t number) {
      row(text, number);
      return true;
    });
    add_mismatched();
    report(std::ssize(heldout) - static_cast<int64_t>(heldout_before));
  }

 private:
  void row(const std::string& text, int64_t number) {
    ++rows_;
    const std::string where = fmt::format("{}:{}", path_, number);
    try {
      if (!is_utf8(text)) fail(ErrorCode::kCorrupt, "not UTF-8: convert it to UTF-8");
      const PreferenceRecord record = read_preference_record(parse_json(text, "row"), where);
      add(record, where);
    } catch (const Error& error) {
      if (options_.bad_rows == BadRows::kRefuse)
        fail(error.code(), "{}: {} (data.bad_rows: drop leaves such rows out)", where,
             error.what());
      bad_.add(path_, number, error.what());
    }
  }

  void add(const PreferenceRecord& record, const std::string& where) {
    if (record.form == PreferenceForm::kLabel && shape_ != PreferenceShape::kLabels)
      fail(ErrorCode::kInvalidArgument,
           "'label': single responses are for objective kto; give 'chosen' and 'rejected', or set "
           "objective.objective to kto");
    const Extremes ends = extremes_of(record.rewards);
    if (record.form != PreferenceForm::kLabel &&
        record.rewards[ends.best] == record.rewards[ends.worst]) {
      ++equal_;
      return;
    }
    if (shape_ == PreferenceShape::kGroups) {
      std::vector<size_t> all(record.responses.size());
      for (size_t i = 0; i < all.size(); ++i) all[i] = i;
      add_item(record, all, where);
    } else if (shape_ == PreferenceShape::kPairs) {
      if (record.responses[ends.best] == record.responses[ends.worst])
        fail(ErrorCode::kInvalidArgument,
             "'responses[{}]' and 'responses[{}]' are the same, and are the best and the worst of "
             "the group: nothing to compare; leave the row out",
             ends.best, ends.worst);
      add_item(record, {ends.best, ends.worst}, where);
    } else if (record.form == PreferenceForm::kLabel) {
      add_item(record, {0}, where);
    } else {
      add_item(record, {ends.best}, where);
      add_item(record, {ends.worst}, where);
    }
  }

  void add_item(const PreferenceRecord& record, const std::vector<size_t>& which,
                const std::string& where) {
    PreferenceItem item;
    for (const size_t i : which) {
      TokenDocument document = tokens_of(record.prompt, record.responses[i], record.tools, where);
      if (!fits(document, where)) return;
      item.responses.push_back(std::move(document));
      item.rewards.push_back(record.rewards[i]);
    }
    if (shape_ == PreferenceShape::kLabels && record.form != PreferenceForm::kLabel)
      item.rewards[0] = item.rewards[0] == *std::ranges::max_element(record.rewards) ? 1 : 0;
    const bool held_out = is_held_out(record, options_.heldout_fraction);
    std::vector<PreferenceItem>& side = *sides_[held_out];
    if (shape_ == PreferenceShape::kLabels)
      waiting_.push_back(
          {record.prompt, record.tools, record.responses[which[0]], where, held_out, side.size()});
    side.push_back(std::move(item));
  }

  TokenDocument tokens_of(const Json& prompt, const Json& response, const Json& tools,
                          const std::string& where) const {
    std::vector<Message> messages =
        messages_from_json(conversation_of(prompt, response), "conversation");
    std::vector<TokenDocument> documents = format_.documents(messages, tools, where);
    std::erase_if(documents, learns_nothing);
    if (documents.size() != 1)
      fail(ErrorCode::kInvalidArgument,
           "a response of {} answers that the model's chat template writes apart: give responses "
           "of one answer",
           documents.size());
    return std::move(documents[0]);
  }

  // Whether it may stay; cut where the options say so.
  bool fits(TokenDocument& document, const std::string& where) {
    const int64_t tokens = std::ssize(document.ids);
    longest_ = std::max(longest_, tokens);
    if (tokens <= length_max_) return true;
    if (options_.too_long == TooLong::kRefuse)
      fail(ErrorCode::kInvalidArgument,
           "{} tokens are more than {} (data.max_length), and data.too_long is refuse", tokens,
           length_max_);
    ++long_;
    if (options_.too_long == TooLong::kDrop) return false;
    document.ids.resize(static_cast<size_t>(length_max_));
    document.trained.resize(static_cast<size_t>(length_max_));
    return !learns_nothing(document);
  }

  // The next response of the same side that answers another prompt, around the end of the file.
  void add_mismatched() {
    for (const bool held_out : {false, true}) {
      std::vector<const Waiting*> side;
      for (const Waiting& w : waiting_)
        if (w.held_out == held_out) side.push_back(&w);
      for (size_t i = 0; i < side.size(); ++i) {
        size_t next = 1;
        while (next < side.size() && side[(i + next) % side.size()]->prompt == side[i]->prompt)
          ++next;
        if (next >= side.size()) continue;
        const Waiting& own = *side[i];
        TokenDocument document =
            tokens_of(own.prompt, side[(i + next) % side.size()]->response, own.tools, own.where);
        const size_t length = std::min(document.ids.size(), static_cast<size_t>(length_max_));
        document.ids.resize(length);
        document.trained.resize(length);
        if (!learns_nothing(document))
          (*sides_[held_out])[own.index].mismatched = std::move(document);
      }
    }
  }

  void report(int64_t heldout_count) const {
    const std::string what = shape_ == PreferenceShape::kPairs    ? "pairs"
                             : shape_ == PreferenceShape::kGroups ? "groups"
                                                                  : "responses";
    if (bad_.count() > 0)
      log_warn("{}: {} of {} rows left out: they cannot be used", path_, bad_.count(), rows_);
    if (equal_ > 0)
      log_warn("{}: {} of {} rows left out: all their rewards are equal", path_, equal_, rows_);
    if (long_ > 0)
      log_warn("{}: {} responses are longer than {} tokens (the longest has {}): {}", path_, long_,
               length_max_, longest_,
               options_.too_long == TooLong::kDrop
                   ? "left out with what they are compared with; raise data.max_length, or set "
                     "data.too_long to truncate"
                   : "truncated");
    if (rows_ == 0)
      fail(ErrorCode::kInvalidArgument, "{}: holds no row: an object a line is needed", path_);
    if (sides_[0]->empty())
      fail(ErrorCode::kInvalidArgument,
           "{}: none of its {} rows is left to learn from; see the warnings above, or lower "
           "data.heldout_fraction",
           path_, rows_);
    log_info("{}: {} {} to learn from, {} held out", path_, sides_[0]->size(), what, heldout_count);
  }

  const PreferenceDataOptions& options_;
  PreferenceShape shape_;
  int64_t length_max_;
  const TrainingFormat& format_;
  std::string path_;
  std::array<std::vector<PreferenceItem>*, 2> sides_ = {};  // learnt, held out
  std::vector<Waiting> waiting_;
  BadRecords bad_;
  int64_t rows_ = 0, equal_ = 0, long_ = 0, longest_ = 0;
};

}  // namespace

int64_t PreferenceSet::count() const {
  int64_t count = 0;
  for (const auto& file : files) count += std::ssize(file);
  return count;
}

PreferenceSet load_preferences(const PreferenceDataOptions& options, PreferenceShape shape,
                               int64_t length_max, const TrainingFormat& format) {
  PreferenceSet out;
  for (const PreferenceFile& file : options.files) {
    FileReader(options, shape, length_max, format, file.path)
        .read(out.files.emplace_back(), out.heldout);
  }
  return out;
}

}  // namespace dure
