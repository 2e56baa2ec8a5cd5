// Sets the colours before the first frame: those of the system, unless the settings say otherwise.
{
  let theme;
  try {
    theme = JSON.parse(localStorage.getItem("foveate.settings"))?.theme;
  } catch {
    // No storage, or damaged settings: the system's colours.
  }
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
}
