// Before the first paint: the theme and the language that were chosen here, so that nothing flashes.
(() => {
  let theme = null;
  let language = null;
  try {
    theme = localStorage.getItem("dure.theme");
    language = localStorage.getItem("dure.language");
  } catch {
    // Storage is off: the system's own.
  }
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  if (language !== "en" && language !== "ko")
    language = (navigator.language || "en").startsWith("ko") ? "ko" : "en";
  document.documentElement.lang = language;
})();
