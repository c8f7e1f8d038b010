// Colours for code: one small scanner for the families of languages that share comments, strings and words. It marks what is
// surely a comment, a string, a number or a keyword, and leaves the rest plain.
import { h } from "/page/dom.js";

const kWords = new Set(
  ("abstract and as assert async await auto bool boolean break case catch char class const constexpr continue def default del delete do double elif else end enum except export extends extern false " +
    "final finally float fn for from func function global go goto if impl implements import in include inline instanceof int interface is lambda let local long loop match mod module mut namespace " +
    "new nil None nonlocal not null nullptr operator or package pass private protected pub public raise return self short signed sizeof static str string struct super switch template then this " +
    "throw throws trait True False true try type typedef typename typeof undefined union unsigned until use using var virtual void volatile where while with yield " +
    "SELECT FROM WHERE JOIN ON GROUP BY ORDER INSERT INTO VALUES UPDATE SET CREATE TABLE AND OR NOT NULL AS LIMIT select from where join group order insert into values update create table limit").split(" "),
);

const kHash = new Set("python py sh bash shell zsh ruby rb yaml yml toml perl r makefile dockerfile ini conf cmake".split(" "));
const kDash = new Set("sql lua haskell hs ada".split(" "));
const kPlain = new Set("text txt plain plaintext output console diff markdown md tex latex".split(" "));

function comment(language) {
  if (kHash.has(language)) return "#[^\\n]*";
  if (kDash.has(language)) return "--[^\\n]*";
  if (language === "html" || language === "xml") return "<!--[^]*?(?:-->|$)";
  return "\\/\\/[^\\n]*|\\/\\*[^]*?(?:\\*\\/|$)";
}

const kStrings = "\"\"\"[^]*?(?:\"\"\"|$)|\"(?:[^\"\\\\\\n]|\\\\.)*\"?|'(?:[^'\\\\\\n]|\\\\.)*'?|`(?:[^`\\\\]|\\\\.)*`?";

export function coloured(text, language) {
  const out = h("code", {});
  if (kPlain.has(language) || text.length > 40000) {
    out.append(text);
    return out;
  }
  const scan = new RegExp(`(${comment(language)})|(${kStrings})|(\\b\\d[\\w.]*)|([A-Za-z_]\\w*)`, "g");
  let at = 0;
  const put = (until) => until > at && out.append(text.slice(at, until));
  for (const match of text.matchAll(scan)) {
    const [whole, remark, string, number, word] = match;
    const kind = remark ? "c-comment" : string ? "c-string" : number ? "c-number" : word && kWords.has(word) ? "c-word" : "";
    if (!kind) continue;
    put(match.index);
    out.append(h("span", { class: kind }, whole));
    at = match.index + whole.length;
  }
  put(text.length);
  return out;
}
