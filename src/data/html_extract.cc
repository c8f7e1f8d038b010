// text_of_html: a walk over libxml2's tree of an HTML page.
#include <libxml/HTMLparser.h>
#include <libxml/parser.h>

#include <memory>
#include <mutex>
#include <set>
#include <vector>

#include "base/error.h"
#include "data/input.h"
#include "data/text_extract.h"

namespace dure {
namespace {

using Names = std::set<std::string_view>;

// Collects text as a browser would lay it out: runs of white space are one space, blocks are
// parted.
class Layout {
 public:
  void append(std::string_view text, bool preformatted) {
    preformatted ? append_as_is(text) : append_flowing(text);
  }
  void line_break() { break_wanted_ = std::max(break_wanted_, 1); }
  void item(std::string_view mark) {
    line_break();
    place(mark);
    after_mark_ = true;  // The item's first paragraph stays on the line of its mark.
  }
  void cell() { cell_wanted_ = !out_.empty() && out_.back() != '\n' && break_wanted_ == 0; }
  void before_block(int breaks) {
    if (!after_mark_) break_wanted_ = std::max(break_wanted_, breaks);
  }
  std::string take() { return tidy_text(out_); }

 private:
  void place(std::string_view text) {
    if (break_wanted_ > 0 && !out_.empty()) {
      out_.append(static_cast<size_t>(break_wanted_), '\n');
    } else if (cell_wanted_) {
      out_ += " | ";
    } else if (space_wanted_ && !after_mark_) {
      out_ += ' ';
    }
    break_wanted_ = 0;
    space_wanted_ = cell_wanted_ = after_mark_ = false;
    out_ += text;
  }

  void append_as_is(std::string_view text) {
    if (text.starts_with('\n') && (out_.empty() || break_wanted_ > 0)) text.remove_prefix(1);
    if (!text.empty()) place(text);
  }

  void append_flowing(std::string_view text) {
    while (!text.empty()) {
      const size_t blank = blank_length(text);
      if (blank > 0) {
        // A line broken between two ideographs or kana is no space in Chinese and Japanese.
        const bool newline = text.substr(0, blank).find('\n') != std::string_view::npos;
        text.remove_prefix(blank);
        space_wanted_ = space_wanted_ || !(newline && ends_in_cjk() && begins_with_cjk(text));
        if (out_.empty() || break_wanted_ > 0) space_wanted_ = false;
        continue;
      }
      size_t length = 1;
      while (length < text.size() && blank_length(text.substr(length)) == 0) ++length;
      place(text.substr(0, length));
      text.remove_prefix(length);
    }
  }

  // White space of HTML, and the no-break space (C2 A0), which writers of manuals put between
  // number and title.
  static size_t blank_length(std::string_view text) {
    size_t length = 0;
    while (length < text.size()) {
      if (std::string_view(" \t\n\r\f").find(text[length]) != std::string_view::npos) {
        ++length;
      } else if (text.substr(length).starts_with("\xC2\xA0")) {
        length += 2;
      } else {
        break;
      }
    }
    return length;
  }

  // U+3000..U+9FFF (punctuation, kana, ideographs) and U+FF00..U+FFEF; Hangul lies outside and uses
  // spaces.
  static bool begins_with_cjk(std::string_view text) {
    if (text.size() < 3) return false;
    const auto b0 = static_cast<unsigned char>(text[0]), b1 = static_cast<unsigned char>(text[1]);
    return (b0 >= 0xE3 && b0 <= 0xE9) || (b0 == 0xEF && b1 >= 0xBC);
  }
  bool ends_in_cjk() const {
    return out_.size() >= 3 && begins_with_cjk(std::string_view(out_).substr(out_.size() - 3));
  }

  std::string out_;
  int break_wanted_ = 0;
  bool space_wanted_ = false, cell_wanted_ = false, after_mark_ = false;
};

std::string_view name_of(const xmlNode* node) { return reinterpret_cast<const char*>(node->name); }

std::string attribute(xmlNode* node, const char* name) {
  xmlChar* value = xmlGetProp(node, reinterpret_cast<const xmlChar*>(name));
  std::string text = value == nullptr ? "" : reinterpret_cast<const char*>(value);
  xmlFree(value);
  return text;
}

bool is_navigation(xmlNode* node) {
  static const Names dropped = {"script",   "style",  "head",     "nav",  "noscript",
                                "template", "iframe", "object",   "svg",  "form",
                                "button",   "select", "textarea", "title"};
  static const Names dropped_classes = {"navheader",  "navfooter", "toc",        "navbar",
                                        "navigation", "sidebar",   "breadcrumb", "sphinxsidebar"};
  if (dropped.contains(name_of(node))) return true;
  const std::string classes = attribute(node, "class");
  for (size_t at = 0; at < classes.size();) {
    const size_t end = std::min(classes.find(' ', at), classes.size());
    if (dropped_classes.contains(std::string_view(classes).substr(at, end - at))) return true;
    at = end + 1;
  }
  return attribute(node, "role") == "navigation";
}

class Walker {
 public:
  std::string text_of(xmlNode* root) {
    children(root);
    return layout_.take();
  }

 private:
  void children(xmlNode* parent) {
    for (xmlNode* node = parent->children; node != nullptr; node = node->next) visit(node);
  }

  void visit(xmlNode* node) {
    if (node->type == XML_TEXT_NODE || node->type == XML_CDATA_SECTION_NODE) {
      if (node->content != nullptr)
        layout_.append(reinterpret_cast<const char*>(node->content), preformatted_ > 0);
      return;
    }
    if (node->type != XML_ELEMENT_NODE || is_navigation(node)) return;
    element(node, name_of(node));
  }

  void element(xmlNode* node, std::string_view name) {
    static const Names blocks = {"p",  "h1", "h2", "h3",    "h4",         "h5", "h6",    "pre",
                                 "ul", "ol", "dl", "table", "blockquote", "hr", "figure"};
    static const Names lines = {"div",     "tr",      "dt",         "dd",     "li",
                                "section", "article", "main",       "header", "footer",
                                "address", "caption", "figcaption", "body"};
    if (name == "br") return layout_.line_break();
    if (name == "li") return list_item(node);
    if (name == "td" || name == "th") {
      layout_.cell();
      return children(node);
    }
    const bool pre = name == "pre", list = name == "ul" || name == "ol";
    // Inside a list or a table cell, paragraphs and lists part by a line, not by an empty one.
    const int breaks = blocks.contains(name)  ? (depth_ > 0 && !pre ? 1 : 2)
                       : lines.contains(name) ? 1
                                              : 0;
    if (breaks > 0) layout_.before_block(breaks);
    preformatted_ += pre ? 1 : 0;
    if (list) numbers_.push_back(name == "ol" ? 1 : 0);
    depth_ += list ? 1 : 0;
    children(node);
    depth_ -= list ? 1 : 0;
    if (list) numbers_.pop_back();
    preformatted_ -= pre ? 1 : 0;
    if (breaks > 0) layout_.before_block(breaks);
  }

  void list_item(xmlNode* node) {
    const bool numbered = !numbers_.empty() && numbers_.back() > 0;
    layout_.item(numbered ? fmt::format("{}. ", numbers_.back()++) : "- ");
    children(node);
    layout_.line_break();
  }

  Layout layout_;
  int preformatted_ = 0, depth_ = 0;
  std::vector<int> numbers_;  // The next number of each open <ol>, 0 for <ul>.
};

}  // namespace

std::string text_of_html(std::string_view html, std::string_view source) {
  static std::once_flag once;
  std::call_once(once, xmlInitParser);
  const bool utf8 = is_utf8(html);
  if (!utf8 && html.find("charset=") == std::string_view::npos) {
    fail(ErrorCode::kCorrupt, "{}: not UTF-8, and no charset is declared", source);
  }
  if (html.size() > INT32_MAX) fail(ErrorCode::kUnsupported, "{}: more than 2 GiB of HTML", source);
  const std::unique_ptr<xmlDoc, void (*)(xmlDoc*)> document(
      htmlReadMemory(
          html.data(), static_cast<int>(html.size()), nullptr, utf8 ? "UTF-8" : nullptr,
          HTML_PARSE_RECOVER | HTML_PARSE_NOERROR | HTML_PARSE_NOWARNING | HTML_PARSE_NONET),
      xmlFreeDoc);
  if (!document) fail(ErrorCode::kCorrupt, "{}: no HTML in it", source);
  xmlNode* root = xmlDocGetRootElement(document.get());
  if (root == nullptr) return "";
  std::string text = Walker().text_of(root);
  if (!is_utf8(text))
    fail(ErrorCode::kCorrupt, "{}: its characters do not fit the charset it declares", source);
  return text;
}

}  // namespace dure
