// Rows are viewed one by one with the formats of the model, then printed for a person or as JSON.
#include "cli/loss_inspect.h"

#include <cstdio>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "chat/chat_texts.h"
#include "cli/terminal_text.h"
#include "data/corpus.h"
#include "data/input.h"
#include "data/json_rows.h"
#include "data/loss_view.h"
#include "formats/model_files.h"

namespace dure {
namespace {

TrainingFormat format_of(const ChatTexts& texts, WithoutReasoning without_reasoning) {
  return TrainingFormat(texts.require_tokenizer(), texts.chat_template, texts.stops,
                        without_reasoning);
}

// Learnt stretches stand out: in green among dim ones, or between brackets.
std::string shown(const LossSample& sample, bool colour) {
  std::string out;
  for (const LossSegment& segment : sample.segments) {
    const std::string text = colour ? harmless(segment.text) : segment.text;
    if (colour) {
      out += (segment.learnt ? "\x1b[32m" : "\x1b[2m") + text + "\x1b[0m";
    } else {
      out += segment.learnt ? "[[" + text + "]]" : text;
    }
  }
  return out;
}

std::string note_of(const LossMessage& message) {
  if (message.masked) return "not learnt: weight 0";
  if (message.role != "assistant") return "";
  if (message.learnt == 0) return "not learnt: its reasoning is dropped from later prompts";
  return message.samples > 1 ? fmt::format("in {} samples", message.samples) : "";
}

void print_view(const LossView& view, const std::string& where, bool colour) {
  std::printf("%s: %s, %lld tokens, %lld learnt\n", where.c_str(), view.form.c_str(),
              static_cast<long long>(view.tokens()), static_cast<long long>(view.learnt()));
  for (size_t i = 0; i < view.messages.size(); ++i) {
    const LossMessage& message = view.messages[i];
    const std::string note = note_of(message);
    std::printf("  messages[%zu] %-10s %6lld learnt%s%s\n", i, message.role.c_str(),
                static_cast<long long>(message.learnt), note.empty() ? "" : "  ", note.c_str());
  }
  for (const LossSample& sample : view.samples) {
    std::printf("--- %s: %lld tokens, %lld learnt\n%s\n", sample.title.c_str(),
                static_cast<long long>(sample.tokens()), static_cast<long long>(sample.learnt()),
                shown(sample, colour).c_str());
  }
}

Json json_of(const LossSample& sample) {
  Json out = Json::object(), segments = Json::array();
  out["title"] = sample.title;
  out["tokens"] = sample.tokens();
  out["learnt"] = sample.learnt();
  for (const LossSegment& segment : sample.segments) {
    Json one = Json::object();
    one["text"] = segment.text;
    one["tokens"] = segment.tokens;
    one["learnt"] = segment.learnt;
    segments.push_back(std::move(one));
  }
  out["segments"] = std::move(segments);
  return out;
}

Json json_of(const LossView& view, const std::string& where) {
  Json out = Json::object(), messages = Json::array(), samples = Json::array();
  out["row"] = where;
  out["form"] = view.form;
  out["tokens"] = view.tokens();
  out["learnt"] = view.learnt();
  for (const LossMessage& message : view.messages) {
    Json one = Json::object();
    one["role"] = message.role;
    one["learnt"] = message.learnt;
    one["samples"] = message.samples;
    messages.push_back(std::move(one));
  }
  for (const LossSample& sample : view.samples) samples.push_back(json_of(sample));
  out["messages"] = std::move(messages);
  out["samples"] = std::move(samples);
  return out;
}

class RowPrinter {
 public:
  RowPrinter(const LossInspectOptions& options, const LossFormats& formats)
      : options_(options),
        formats_(formats),
        form_(enum_from_name<RecordForm>(options.format, "--format")) {}

  void file(const Path& path) {
    int64_t shown = 0;
    for_each_row(path, [&](const std::string& text, int64_t number) {
      if (options_.line && number != *options_.line) return true;
      row(text, fmt::format("{}:{}", path.string(), number));
      return !options_.line && ++shown < options_.rows;
    });
    if (options_.line && !printed_)
      fail(ErrorCode::kInvalidArgument, "--line is {}: {} has no row there", *options_.line,
           path.string());
  }

  void finish() const {
    if (options_.json) std::printf("%s\n", rows_.dump(2).c_str());
  }

 private:
  void row(const std::string& text, const std::string& where) {
    LossView view;
    try {
      if (!is_utf8(text)) fail(ErrorCode::kCorrupt, "not UTF-8: convert it to UTF-8");
      view = view_loss(parse_json(text, "row"), where, formats_, form_);
    } catch (const Error& error) {
      fail(error.code(), "{}: {}", where, error.what());
    }
    if (options_.json) {
      rows_.push_back(json_of(view, where));
    } else {
      print_view(view, where, shows_colour());
    }
    printed_ = true;
  }

  const LossInspectOptions& options_;
  const LossFormats& formats_;
  RecordForm form_;
  Json rows_ = Json::array();
  bool printed_ = false;
};

// Of a prepared corpus both kinds, where it has them.
std::vector<Path> files_of(const Path& path) {
  if (!std::filesystem::is_directory(path)) return {path};
  corpus_manifest(path);
  std::vector<Path> out;
  for (const Path& file : {path / "chat-train.jsonl", train_file(path)}) {
    if (path_exists(file)) out.push_back(file);
  }
  return out;
}

}  // namespace

void inspect_loss(const LossInspectOptions& options) {
  if (options.model.empty())
    fail(ErrorCode::kInvalidArgument,
         "--loss needs --model MODEL: its tokenizer and chat template decide what is learnt");
  const ModelFiles files(find_model(options.model));
  const ChatTexts texts = load_chat_texts(files);
  const auto choice = [&](WithoutReasoning usual) {
    return options.without_reasoning.empty()
               ? usual
               : enum_from_name<WithoutReasoning>(options.without_reasoning, "--without-reasoning");
  };
  const TrainingFormat conversations = format_of(texts, choice(WithoutReasoning::kBoth));
  const TrainingFormat preferences = format_of(texts, choice(WithoutReasoning::kOff));
  const LossFormats formats{.conversations = conversations, .preferences = preferences};
  RowPrinter printer(options, formats);
  for (const Path& file : files_of(options.path)) printer.file(file);
  printer.finish();
}

}  // namespace dure
