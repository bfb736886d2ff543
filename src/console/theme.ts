/**
 * Light or dark: as the system has it, or as somebody has chosen for this browser.
 */
import { type Signal, signal } from '@preact/signals';

export const THEMES = ['system', 'light', 'dark'] as const;
export type Theme = (typeof THEMES)[number];

const PLACE = 'onehop-theme';
const systemDark = matchMedia('(prefers-color-scheme: dark)');

export const theme: Signal<Theme> = signal(THEMES.find((one) => one === localStorage.getItem(PLACE)) ?? 'system');
/** What is shown in the end; charts are drawn anew when it changes. */
export const isDark: Signal<boolean> = signal(false);

function show(): void {
  isDark.value = theme.value === 'dark' || (theme.value === 'system' && systemDark.matches);
  document.documentElement.dataset['theme'] = isDark.value ? 'dark' : 'light';
}

export function startTheme(): void {
  systemDark.addEventListener('change', show);
  show();
}

/** The next of the three. */
export function switchTheme(): void {
  theme.value = THEMES[(THEMES.indexOf(theme.value) + 1) % THEMES.length]!;
  localStorage.setItem(PLACE, theme.value);
  show();
}
