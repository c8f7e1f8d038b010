// A number, or "auto"; a drafter, or "off".
#include "cli/draft_flags.h"

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "cli/args.h"

namespace dure {
namespace {

std::optional<int64_t> number_in(const std::string& text) {
  int64_t value = 0;
  const char* const last = text.data() + text.size();
  const auto [end, problem] = std::from_chars(text.data(), last, value);
  return problem == std::errc() && end == last ? std::optional(value) : std::nullopt;
}

std::optional<DrafterChoice> drafter_in(const std::string& text) {
  for (const auto& [value, name] : enum_names(DrafterChoice{})) {
    if (text == name) return value;
  }
  return std::nullopt;
}

}  // namespace

void DraftSettings::give(GeneratorOptions& options) const {
  options.draft_tokens_max = tokens_max;
  options.drafter = drafter;
  options.draft_length = length;
}

void DraftFlags::declare(Args& args) {
  args.option("--draft", draft_,
              "tokens guessed ahead, which the model checks together: a number, 0 (off: the "
              "default), or auto (as many as pay, by measured cost and acceptance)");
  args.option("--drafter", drafter_,
              "who guesses: mtp (the model's MTP layer), ngram (what the text said before), auto "
              "(whichever promises most), off");
}

// A drafter that is named without a number drafts as many as pay; a number without a drafter is of
// the MTP layer.
DraftSettings DraftFlags::parse(const std::string& draft,
                                const std::optional<std::string>& drafter) {
  DraftSettings out;
  if (draft == "auto") {
    out = {kMeasuredMax, DrafterChoice::kAuto, DraftLength::kMeasured};
  } else {
    const std::optional<int64_t> count = number_in(draft);
    if (!count || *count < 0 || *count > kTokensMax)
      fail(ErrorCode::kInvalidArgument, "--draft {}: give 0 to {}, or auto", draft, kTokensMax);
    out.tokens_max = *count;
  }
  if (!drafter) return out;
  if (*drafter == "off") {
    if (out.tokens_max > 0 && draft != "auto")
      fail(ErrorCode::kInvalidArgument, "--draft {} --drafter off: leave one of them away", draft);
    return {};
  }
  const std::optional<DrafterChoice> choice = drafter_in(*drafter);
  if (!choice)
    fail(ErrorCode::kInvalidArgument, "--drafter {}: give mtp, ngram, auto or off", *drafter);
  out.drafter = *choice;
  return out;
}

void DraftFlags::check() const { parse(draft_.value_or(drafter_ ? "auto" : "0"), drafter_); }

DraftSettings DraftFlags::settings(const ModelConfig& config, const std::string& source,
                                   int64_t sequences_max, int64_t rows_max) const {
  const std::string draft = draft_.value_or(drafter_ ? "auto" : "0");
  DraftSettings out = parse(draft, drafter_);
  if (out.tokens_max > 0 && out.drafter == DrafterChoice::kMtp && config.mtp_layer_count == 0) {
    fail(
        ErrorCode::kInvalidArgument,
        "{}: --draft {}, but the model has no MTP layer to draft with; leave --draft away, or give "
        "--drafter ngram",
        source, draft);
  }
  if (out.length == DraftLength::kMeasured && rows_max > 0)
    out.tokens_max = std::clamp<int64_t>(rows_max / sequences_max - 1, 1, out.tokens_max);
  return out;
}

}  // namespace dure
