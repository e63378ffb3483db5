// The read-only page with live progress: one file, nothing loaded from elsewhere, light and dark by the reader's choice.
#include "coordinator/http/api.h"

namespace quantfleet::coordinator {

std::string_view page() {
  return R"page(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>quantfleet</title>
<style>
:root{color-scheme:light dark;--bg:#f7f7f5;--card:#fff;--text:#1c1f23;--soft:#6a717b;--line:#e3e4e1;--done:#2f7d5b;--run:#3b6fd4;--bad:#c2452d;--wait:#c9ccd1}
@media(prefers-color-scheme:dark){:root{--bg:#14161a;--card:#1d2026;--text:#e6e8eb;--soft:#98a0ab;--line:#2c3038;--done:#4fae86;--run:#6d9bf1;--bad:#e8745c;--wait:#3a3f48}}
*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--text);font:15px/1.5 system-ui,sans-serif}
main{max-width:60rem;margin:0 auto;padding:2rem 1.2rem}h1{font-size:1.3rem;margin:0 0 1.5rem;letter-spacing:-.01em}h1 span{color:var(--soft);font-weight:400}
h2{font-size:.8rem;text-transform:uppercase;letter-spacing:.08em;color:var(--soft);margin:2rem 0 .6rem}
.card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:1rem 1.2rem;margin-bottom:.8rem}
.head{display:flex;justify-content:space-between;gap:1rem;flex-wrap:wrap}.head b{font-weight:600}.soft{color:var(--soft);font-variant-numeric:tabular-nums}
.row{display:grid;grid-template-columns:9.5rem 1fr 9rem;gap:.8rem;align-items:center;margin-top:.5rem;font-size:.9rem}
.bar{display:flex;height:9px;border-radius:5px;overflow:hidden;background:var(--wait)}.bar i{display:block;height:100%}
.tag{font-size:.75rem;padding:.1rem .55rem;border-radius:1rem;border:1px solid currentColor}.done{color:var(--done)}.running,.waiting{color:var(--run)}.failed,.cancelled,.offline{color:var(--bad)}.idle,.draining{color:var(--soft)}
table{width:100%;border-collapse:collapse;font-size:.9rem}td,th{text-align:left;padding:.35rem .6rem .35rem 0;border-bottom:1px solid var(--line)}th{color:var(--soft);font-weight:500}tr:last-child td{border:0}
details{margin-top:.6rem;font-size:.85rem}summary{color:var(--bad);cursor:pointer}code{font:.85em ui-monospace,monospace;overflow-wrap:anywhere}
</style></head><body><main><h1>quantfleet <span id="when"></span></h1><h2>Runs</h2><div id="runs"></div><h2>Devices</h2><div class="card"><table id="devices"></table></div></main>
<script>
const $=id=>document.getElementById(id);
const el=(tag,cls,text)=>{const e=document.createElement(tag);if(cls)e.className=cls;if(text!==undefined)e.textContent=text;return e};
const span=s=>s<90?Math.round(s)+' s':s<5400?Math.round(s/60)+' min':(s/3600).toFixed(1)+' h';
const get=async p=>{const r=await fetch(p);if(!r.ok)throw new Error(p+': '+r.status);return r.json()};
const words={quantize:'quantize',reference_logits:'reference logits',accuracy:'accuracy',timing:'timing'};
function bar(p){const b=el('div','bar');for(const[n,c]of[[p.done,'--done'],[p.leased,'--run'],[p.failed+p.cancelled,'--bad']]){const i=el('i');i.style.width=100*n/p.units+'%';i.style.background='var('+c+')';b.append(i)}return b}
function card(r){const c=el('div','card'),h=el('div','head'),l=el('div');l.append(el('b','',r.id),' ',el('span','tag '+r.status,r.status));h.append(l);
 const t=new Date(r.submitted_at*1e3).toLocaleString();let note=r.finished_at?'took '+span(r.finished_at-r.submitted_at):r.eta_seconds!=null?Math.round(100*r.done_ratio)+' %, about '+span(r.eta_seconds)+' left':'';
 h.append(el('div','soft',t+(note?' · '+note:'')));c.append(h);
 for(const p of r.progress||[]){const w=el('div','row');w.append(el('div','',words[p.kind]||p.kind),bar(p),el('div','soft',(p.done+p.failed+p.cancelled)+' / '+p.units+' units'+(p.items?', '+p.rows+' rows':'')));c.append(w)}
 if((r.problems||[]).length){const d=el('details'),n=r.problems.length;d.append(el('summary','',n+(n==1?' unit':' units')+' not measured'));for(const q of r.problems.slice(0,40)){const x=el('div');x.append(el('code','',q.unit),' '+q.state+': '+q.reason);d.append(x)}c.append(d)}
 return c}
async function refresh(){try{
 const runs=(await get('/api/runs')).runs,full=await Promise.all(runs.slice(0,8).map(r=>get('/api/runs/'+encodeURIComponent(r.id))));
 const open=[...document.querySelectorAll('details[open]')].length;
 if(!open)$('runs').replaceChildren(...(full.length?full.map(card):[el('div','card soft','No run yet: quantfleet submit PLAN.yaml')]));
 const devices=(await get('/api/devices')).devices,t=$('devices');t.replaceChildren();
 const hr=el('tr');for(const n of['name','state','processor','cores','kernels','now'])hr.append(el('th','',n));t.append(hr);
 for(const d of devices){const r=el('tr');r.append(el('td','',d.name));const s=el('td');s.append(el('span','tag '+d.state,d.state));r.append(s,el('td','',d.cpu_model),el('td','',d.cores),el('td','',d.kernels[0]||''),el('td','soft',d.running?d.running.unit.split('/').slice(1).join(' ')+', '+d.running.items_done+' items':''));t.append(r)}
 $('when').textContent=new Date().toLocaleTimeString()}catch(e){$('when').textContent='not reachable: '+e.message}}
refresh();setInterval(refresh,2000);
</script></body></html>
)page";
}

}  // namespace quantfleet::coordinator
