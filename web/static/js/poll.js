// Asking again and again, politely.

/**
 * every runs job now and then again interval milliseconds after it has ended,
 * while the page can be seen. It returns a function that runs job at once.
 */
export function every(interval, job) {
  let timer = 0;
  let running = false;
  let again = false;
  const run = async () => {
    clearTimeout(timer);
    if (running) {
      again = true;
      return;
    }
    running = true;
    try {
      await job();
    } finally {
      running = false;
      const soon = again;
      again = false;
      if (!document.hidden) timer = setTimeout(run, soon ? 0 : interval);
    }
  };
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) run();
  });
  run();
  return run;
}
