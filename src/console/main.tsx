/**
 * The console's first file: puts the application into the page.
 */
import '@picocss/pico/css/pico.min.css';
import 'uplot/dist/uPlot.min.css';
import './style.css';
import { render } from 'preact';
import { App } from './app.tsx';
import { startTheme } from './theme.ts';

startTheme();
render(<App />, document.getElementById('app')!);
